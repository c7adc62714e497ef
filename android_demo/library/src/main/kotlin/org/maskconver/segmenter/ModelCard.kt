package org.maskconver.segmenter

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/** One class of the label set; [id] is the value that stands in category maps, [color] is 0xRRGGBB. */
data class Category(val id: Int, val name: String, val isThing: Boolean, val color: Int)

/** Height and width in pixels. */
data class Size(val height: Int, val width: Int)

/** Where a graph ends: three head maps, proposals with mask logits, or panoptic maps. */
enum class Level { HEADS, MASKS, PANOPTIC }

/**
 * What the tensor `image` takes.
 *
 * [UINT8]: RGB bytes. [PIXELS]: RGB values 0..255 as float32, resized without rounding. [FLOAT32]: `(pixel - mean) / std`.
 */
enum class InputType { UINT8, PIXELS, FLOAT32 }

/**
 * What a model file says of itself, as JSON inside the file.
 *
 * @property name what the model is called.
 * @property level where the graph ends.
 * @property target the kernels that the graph was written for.
 * @property recipe number format of weights and activations, such as `float16`.
 * @property inputSize of the network's image.
 * @property inputType what the network takes.
 * @property mean per RGB channel, in pixel units 0..255.
 * @property std per RGB channel, in pixel units.
 * @property outputSize of the canvas on which proposals are merged.
 * @property numInstances the number of proposals.
 * @property numClasses class ids run from 0 to one less; 0 is void, unless a category has it.
 * @property objectMaskThreshold a proposal takes part in the merge if it scores above it.
 * @property overlapThreshold part of its own mask that a proposal must win to be kept.
 * @property smallAreaThreshold a kept proposal has more pixels than this on the canvas.
 * @property hardSigmoid the merge runs at mask resolution with relu6(x + 3) / 6.
 * @property rescalePredictions masks are merged at the image's size, else on the canvas as it is.
 * @property halfPrecision the file permits arithmetic in float16.
 * @property categories the label set; where one has id 0 there are no things: that class is real, and what is left over gets it.
 * @property source where the weights come from, such as `checkpoint` and `sha256`.
 * @property tools versions of what wrote the file.
 */
data class ModelCard(
    val name: String,
    val level: Level,
    val target: String,
    val recipe: String,
    val inputSize: Size,
    val inputType: InputType,
    val mean: List<Float>,
    val std: List<Float>,
    val outputSize: Size,
    val numInstances: Int,
    val numClasses: Int,
    val objectMaskThreshold: Double,
    val overlapThreshold: Double,
    val smallAreaThreshold: Double,
    val hardSigmoid: Boolean,
    val rescalePredictions: Boolean,
    val halfPrecision: Boolean,
    val categories: List<Category>,
    val source: Map<String, String>,
    val tools: Map<String, String>,
) {
    companion object {
        /** Name of the metadata buffer in a model file. */
        const val KEY = "maskconver_card"
        private const val NEWEST_SCHEMA = 2
        private const val LARGEST = 1 shl 14

        /**
         * Reads a card; [file] names its origin in errors.
         *
         * @throws MaskConverException it is no card, or one of a newer schema.
         */
        fun fromJson(text: String, file: String): ModelCard {
            val raw: JSONObject
            val schema: Any
            try {
                raw = JSONObject(text)
                schema = raw.get("schema")
            } catch (error: JSONException) {
                throw MaskConverException("$file: its model card is not readable; convert it again", error)
            } catch (error: StackOverflowError) {
                throw MaskConverException("$file: its model card is not readable; convert it again", error)
            }
            if (schema !is Int || schema !in 1..NEWEST_SCHEMA) {
                throw MaskConverException(
                    "$file: its model card has schema $schema and this version reads 1 to $NEWEST_SCHEMA; update the app",
                )
            }
            return try {
                read(raw, schema).also(::check).also { if (it.level == Level.HEADS) checkHeads(raw, file) }
            } catch (error: JSONException) {
                throw MaskConverException("$file: its model card is malformed (${error.message}); convert it again", error)
            } catch (error: IllegalArgumentException) {
                throw MaskConverException("$file: its model card is malformed (${error.message}); convert it again", error)
            }
        }

        private fun read(raw: JSONObject, schema: Int) = ModelCard(
            name = raw.getString("name"),
            level = Level.valueOf(raw.getString("level").uppercase()),
            target = raw.getString("target"),
            recipe = raw.getString("recipe"),
            inputSize = size(raw, "input_size"),
            inputType = InputType.valueOf(raw.getString("input_type").uppercase()),
            mean = floats(raw, "mean"),
            std = floats(raw, "std"),
            outputSize = size(raw, "output_size"),
            numInstances = whole(raw.get("num_instances")),
            numClasses = whole(raw.get("num_classes")),
            objectMaskThreshold = raw.getDouble("object_mask_threshold"),
            overlapThreshold = raw.getDouble("overlap_threshold"),
            smallAreaThreshold = raw.getDouble("small_area_threshold"),
            hardSigmoid = raw.getBoolean("hard_sigmoid"),
            rescalePredictions = raw.optBoolean("rescale_predictions", true),
            halfPrecision = schema > 1 && raw.getBoolean("half_precision"),
            categories = raw.getJSONArray("categories").let { all -> List(all.length()) { category(all.getJSONObject(it)) } },
            source = texts(raw.getJSONObject("source")),
            tools = texts(raw.getJSONObject("tools")),
        )

        private fun check(card: ModelCard) {
            val sizes = listOf(
                card.inputSize.height, card.inputSize.width, card.outputSize.height, card.outputSize.width,
                card.numInstances, card.numClasses,
            )
            require(sizes.all { it in 1..LARGEST }) { "sizes $sizes" }
            require(card.mean.size == 3 && card.std.size == 3 && card.std.all { it > 0 }) { "mean ${card.mean}, std ${card.std}" }
            require(card.categories.all { it.id in 0..LARGEST }) { "a category's id is not in 0..$LARGEST" }
            require(card.categories.none { it.id == 0 } || card.categories.none { it.isThing }) { "things beside id 0" }
        }

        /** Behind heads of a single map come a product and a relu; there is no other way here. */
        private fun checkHeads(raw: JSONObject, file: String) {
            val heads = raw.optJSONObject("heads") ?: return
            val plain = heads.getJSONArray("levels").length() == 0 &&
                heads.getString("combination") == "product" && heads.getString("activation") == "relu"
            if (!plain) throw MaskConverException("$file: heads of several levels are not run here; convert it with --level masks")
        }

        private fun category(raw: JSONObject): Category {
            val color = raw.getJSONArray("color")
            val (red, green, blue) = List(3) { whole(color.get(it)) and 255 }
            return Category(whole(raw.get("id")), raw.getString("name"), raw.getBoolean("is_thing"), red shl 16 or (green shl 8) or blue)
        }

        private fun size(raw: JSONObject, key: String): Size {
            val values: JSONArray = raw.getJSONArray(key)
            require(values.length() == 2) { "$key has ${values.length()} numbers" }
            return Size(whole(values.get(0)), whole(values.get(1)))
        }

        private fun floats(raw: JSONObject, key: String): List<Float> =
            raw.getJSONArray(key).let { values -> List(values.length()) { values.getDouble(it).toFloat() } }

        private fun whole(value: Any): Int = value as? Int ?: throw IllegalArgumentException("$value where a whole number belongs")

        private fun texts(raw: JSONObject): Map<String, String> = raw.keys().asSequence().sorted().associateWith { raw.get(it).toString() }
    }
}
