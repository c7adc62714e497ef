package org.maskconver.segmenter

import java.io.ByteArrayInputStream
import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Random
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.BeforeClass
import org.junit.Test

class HostileModelTest {
    private val sound = Fixtures.file("tiny_config_masks_uint8_float32.tflite").readBytes()

    private val integers = Fixtures.file("tiny_int8.tflite").readBytes()

    private fun read(bytes: ByteArray, name: String = "bad.tflite") = ModelFile.read(ByteArrayInputStream(bytes), name)

    private fun refusal(bytes: ByteArray): String {
        val message = assertThrows(MaskConverException::class.java) { read(bytes) }.message!!
        assertTrue(message, message.startsWith("bad.tflite: ") && '\n' !in message)
        return message
    }

    @Test
    fun whatIsNoModelIsRefused() {
        for (bytes in listOf(ByteArray(0), ByteArray(7), "PNG and so on".toByteArray(), ByteArray(5000))) {
            assertTrue(refusal(bytes).contains("is no TFLite model"))
        }
        assertTrue(refusal(byteArrayOf(0, 0, 0, 0x7f) + "TFL3".toByteArray() + ByteArray(64) { -1 }).contains("damaged"))
    }

    @Test
    fun aModelOfOthersIsRefused() {
        assertTrue(refusal(Fixtures.file("without_card.tflite").readBytes()).contains("carries no model card"))
    }

    @Test
    fun aTruncatedModelIsRefused() {
        val end = sound.size - 20_000
        for (size in 8..end step end / 97) refusal(sound.copyOf(size))
    }

    @Test
    fun tooLargeAFileIsRefusedBeforeItIsRead() {
        val endless = object : InputStream() {
            override fun read(): Int = throw IOException("was read")
        }
        val error = assertThrows(MaskConverException::class.java) { ModelFile.read(endless, "large.tflite", ModelFile.MAX_BYTES + 1L) }
        assertEquals("large.tflite: is larger than 512 MiB; use a smaller model", error.message)
        val broken = assertThrows(MaskConverException::class.java) { ModelFile.read(endless, "broken.tflite") }
        assertEquals("broken.tflite: cannot be read (was read); copy it to the phone again", broken.message)
    }

    @Test
    fun aCardOfAnotherVersionOrModelIsRefused() {
        val schema = Regex("\"schema\": ?[0-9]").find(String(sound, Charsets.ISO_8859_1))!!.value
        for ((from, to, expected) in listOf(
            Triple(schema, schema.dropLast(1) + "9", "has schema 9"),
            Triple(schema, schema.dropLast(1) + "x", "has schema x"),
            Triple("\"level\":\"masks\"", "\"level\":\"mosks\"", "malformed"),
            Triple("\"level\":\"masks\"", "\"level\":\"heads\"", "its contents do not"),
            Triple("\"input_type\":\"uint8\"", "\"input_type\":\"pixel\"", "malformed"),
            Triple("\"num_classes\"", "\"num_clases_\"", "malformed"),
            Triple("{\"categories\"", "[\"categories\"", "not readable"),
        )) {
            val text = String(sound, Charsets.ISO_8859_1)
            assertTrue(from, text.contains(from))
            val message = refusal(text.replace(from, to).toByteArray(Charsets.ISO_8859_1))
            assertTrue("$message for $to", message.contains(expected))
        }
    }

    @Test
    fun aCardWhoseSizesAreNotTheGraphsIsRefused() {
        val card = Regex("\"input_size\":\\[96,96\\]")
        val text = String(sound, Charsets.ISO_8859_1)
        val wrong = card.replace(text, "\"input_size\":[96,97]").toByteArray(Charsets.ISO_8859_1)
        assertTrue(refusal(wrong).contains("its tensors are not those of its card"))
    }

    @Test
    fun damagedWeightsBehindTheHeadsAreRefused() {
        val heads = Fixtures.file("tiny_config_heads_float32_float32.tflite").readBytes()
        val text = String(heads, Charsets.ISO_8859_1)
        for ((from, to) in listOf("PK\u0003\u0004" to "XXXX", "NUMPY" to "NUMPX", "'<f4'" to "'<f9'", "gamma.npy" to "gamme.npy")) {
            assertTrue(from, text.contains(from))
            val message = refusal(text.replaceFirst(from, to).toByteArray(Charsets.ISO_8859_1))
            assertTrue(message, message.contains("the weights behind its heads are damaged"))
        }
    }

    @Test
    fun deepOrOddJsonIsRefusedAsACard() {
        val odd = listOf("", "[]", "{", "null", "{\"schema\":null}", "{\"schema\":1}", "{\"a\":".repeat(100_000), "[".repeat(100_000))
        for (text in odd) {
            assertThrows(MaskConverException::class.java) { ModelCard.fromJson(text, "bad.tflite") }
        }
    }

    /** Whatever is done to the structure, there is an exception of ours or a graph that runs; the process lives on. */
    @Test
    fun overwrittenBytesNeverBringTheProcessDown() = overwrite(sound)

    @Test
    fun overwrittenBytesOfAnIntegerModelNeverDoEither() = overwrite(integers)

    private fun overwrite(sound: ByteArray) {
        val random = Random(5)
        val places = structure(sound)
        var refused = 0
        repeat(ROUNDS) {
            val bytes = sound.copyOf()
            repeat(1 + random.nextInt(3)) { bytes[places[random.nextInt(places.size)]] = random.nextInt(256).toByte() }
            try {
                val model = read(bytes)
                Graph(model, Options(threads = 1)).use { it.run(InputTensor(model.card).buffer) }
            } catch (error: MaskConverException) {
                assertFalse('\n' in error.message!!)
                refused++
            }
        }
        assertTrue("$refused of $ROUNDS refused", refused in ROUNDS / 10 until ROUNDS)
    }

    /** The kernel of a sum of integers ends the process where its output has another type, or far too small a scale. */
    @Test
    fun sumsThatDoNotFitTheirScalesAreRefused() {
        val buffer = ByteBuffer.wrap(integers).order(ByteOrder.LITTLE_ENDIAN)
        val model = Flatbuffer(buffer).root()
        val codes = model.tables(1).map { maxOf(it.byte(0), it.int(3)) }
        val graph = model.tables(2).single()
        val sum = graph.tables(3).first { codes[it.int(0)] == 0 && graph.tables(0)[it.ints(2)[0]].byte(1) == 9 }.ints(2)[0]
        val scale = graph.tables(0)[sum].table(4)!!.bytes(2).start
        val small = integers.copyOf().also { ByteBuffer.wrap(it).order(ByteOrder.LITTLE_ENDIAN).putFloat(scale, 1e-18f) }
        assertTrue(refusal(small).contains("scales of a sum"))
        // The offset to the output's table leads to that of a tensor without scales.
        val tensors = graph.bytes(0).start
        val floats = graph.tables(0).indexOfFirst { it.byte(1) == 0 && it.int(2) == 0 }
        val moved = integers.copyOf()
        ByteBuffer.wrap(moved).order(ByteOrder.LITTLE_ENDIAN).putInt(tensors + 4 * sum, buffer.getInt(tensors + 4 * floats) + 4 * (floats - sum))
        assertTrue(refusal(moved).contains("other numbers of scaled integers"))
    }

    @Test
    fun axesThatAreNotThereAreRefused() {
        val buffer = ByteBuffer.wrap(integers).order(ByteOrder.LITTLE_ENDIAN)
        val model = Flatbuffer(buffer).root()
        val codes = model.tables(1).map { maxOf(it.byte(0), it.int(3)) }
        val graph = model.tables(2).single()
        val axes = graph.tables(3).first { codes[it.int(0)] == 40 }.ints(1)[1]
        val data = model.tables(4)[graph.tables(0)[axes].int(2)].bytes(0).start
        val changed = integers.copyOf().also { ByteBuffer.wrap(it).order(ByteOrder.LITTLE_ENDIAN).putInt(data, 0x6e000002) }
        assertTrue(refusal(changed).contains("a reduction over the axes"))
    }

    /** Places of all bytes but those of weights and texts. */
    private fun structure(sound: ByteArray): IntArray {
        val inBuffers = BooleanArray(sound.size)
        val buffer = ByteBuffer.wrap(sound).order(ByteOrder.LITTLE_ENDIAN)
        for (data in Flatbuffer(buffer).root().tables(4).map { it.bytes(0) }) {
            for (i in data.start until data.start + data.count) inBuffers[i] = data.count > 64
        }
        return sound.indices.filter { !inBuffers[it] }.toIntArray()
    }

    @Test
    fun halfPrecisionIsForbiddenInACopyAlone() {
        val model = Fixtures.model("half")
        assertTrue(model.card.halfPrecision)
        assertSame(model.content, model.content(halfPrecision = true))
        fun notes(content: ByteBuffer) =
            GraphCheck(content.duplicate().order(ByteOrder.LITTLE_ENDIAN)).metadataNames("reduced_precision_support")
        val forbidden = model.content(halfPrecision = false)
        assertEquals(listOf(1, 0), listOf(notes(model.content).size, notes(forbidden).size))
        assertEquals(1, forbidden.allBytes().zip(model.content.allBytes()).count { (a, b) -> a != b })
        Graph(model, Options(halfPrecision = false)).use { it.run(InputTensor(model.card).buffer) }
        val other = Fixtures.model("tiny_int8")
        assertSame(other.content, other.content(halfPrecision = false))
    }

    @Test
    fun aSecondSchemaSaysWhetherHalfPrecisionIsPermitted() {
        val first = JSONObject(String(GraphCheck(ByteBuffer.wrap(sound).order(ByteOrder.LITTLE_ENDIAN)).metadata(ModelCard.KEY)!!))
        val second = first.put("schema", 2).put("half_precision", true).put("input_type", "pixels")
        val card = ModelCard.fromJson(second.toString(), "new.tflite")
        assertTrue(card.halfPrecision)
        assertEquals(InputType.PIXELS, card.inputType)
        second.remove("half_precision")
        assertThrows(MaskConverException::class.java) { ModelCard.fromJson(second.toString(), "new.tflite") }
    }

    @Test
    fun whatAnIntegerFileSaysOfItsQualityIsPassedOver() {
        val raw = JSONObject(String(GraphCheck(ByteBuffer.wrap(sound).order(ByteOrder.LITTLE_ENDIAN)).metadata(ModelCard.KEY)!!))
        val plain = ModelCard.fromJson(raw.toString(), "new.tflite")
        raw.put("verdict", JSONObject("""{"images": 12, "held_aside": true, "stable_agreement": null, "snr_db": {"scores": 31.5}}"""))
        assertEquals(plain, ModelCard.fromJson(raw.toString(), "new.tflite"))
    }

    @Test
    fun semanticCardsHaveNoThingsAndMultiScaleHeadsAreRefused() {
        val raw = JSONObject(String(GraphCheck(ByteBuffer.wrap(sound).order(ByteOrder.LITTLE_ENDIAN)).metadata(ModelCard.KEY)!!))
        val road = JSONObject("""{"id": 0, "name": "road", "is_thing": false, "color": [1, 2, 3]}""")
        raw.put("categories", JSONArray(listOf(road))).put("rescale_predictions", false)
        val card = ModelCard.fromJson(raw.toString(), "new.tflite")
        assertEquals(listOf(0), card.categories.map { it.id })
        assertEquals(false, card.rescalePredictions)
        raw.put("level", "heads").put("heads", JSONObject("""{"levels": [[4, 4], [2, 2]], "combination": "sum", "activation": "gelu"}"""))
        val refused = assertThrows(MaskConverException::class.java) { ModelCard.fromJson(raw.toString(), "new.tflite") }
        assertEquals("new.tflite: heads of several levels are not run here; convert it with --level masks", refused.message)
        road.put("is_thing", true)
        assertThrows(MaskConverException::class.java) { ModelCard.fromJson(raw.toString(), "new.tflite") }
    }

    companion object {
        private const val ROUNDS = 500

        @JvmStatic
        @BeforeClass
        fun loadLibraries() = Fixtures.loadHostLibraries()
    }
}
