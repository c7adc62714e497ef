package org.maskconver.segmenter

import java.io.Closeable
import java.nio.ByteBuffer

/** The one path from an upright image to segments, without anything of Android's. Not safe to use from several threads at once. */
internal class Pipeline(private val model: ModelFile, options: Options) : Closeable {
    val graph = Graph(model, options)
    private val card = model.card
    private val input = InputTensor(card)
    private val finder = SegmentFinder(card.categories)
    private val classes = IntArray(card.numInstances)
    private val scores = FloatArray(card.numInstances)
    private val finish: (Letterbox, IntArray) -> List<Segment> = when (card.level) {
        Level.PANOPTIC -> Maps()::segments
        Level.MASKS -> Masks(model.outputs.getValue("mask_logits"))::segments
        Level.HEADS -> Heads(checkNotNull(model.tail))::segments
    }

    /** Segments an image; [decode] is how long it took to make it, in milliseconds, and the map of [reuse] is written over. */
    fun segment(image: RgbImage, decode: Double, reuse: PanopticResult?): PanopticResult {
        val start = System.nanoTime()
        val letterbox = input.lay(image)
        val laid = System.nanoTime()
        graph.run(input.buffer)
        val invoked = System.nanoTime()
        val count = image.height * image.width
        val map = reuse?.panopticMap?.takeIf { it.size >= count } ?: IntArray(count)
        val segments = finish(letterbox, map)
        val timings = Timings(decode, ms(laid - start), ms(invoked - laid), ms(System.nanoTime() - invoked))
        return PanopticResult(image.height, image.width, map, segments, card.categories, timings)
    }

    override fun close() = graph.close()

    private fun ms(nanoseconds: Long) = nanoseconds / 1e6

    private fun output(name: String): ByteBuffer = graph.outputs.getValue(name).apply { rewind() }

    private fun readProposals() {
        output("classes").asIntBuffer().get(classes)
        output("scores").asFloatBuffer().get(scores)
    }

    /** Panoptic maps come from the graph. */
    private inner class Maps {
        private val size = model.outputs.getValue("category_map").shape.let { Size(it[1], it[2]) }
        private val category = IntArray(size.height * size.width)
        private val instance = IntArray(size.height * size.width)

        fun segments(letterbox: Letterbox, map: IntArray): List<Segment> {
            readProposals()
            output("category_map").asIntBuffer().get(category)
            output("instance_map").asIntBuffer().get(instance)
            val rows = letterbox.rows(size.height)
            val columns = letterbox.columns(size.width)
            val read = SegmentFinder.Rows { row, into ->
                for (column in columns.indices) {
                    val at = rows[row] * size.width + columns[column]
                    into[column] = SegmentFinder.key(category[at], instance[at])
                }
            }
            return finder.find(letterbox.image.height, letterbox.image.width, read, map, scores, classes)
        }
    }

    /** Mask logits are merged here. */
    private inner class Masks(logits: Edge) {
        private val size = Size(logits.shape[1], logits.shape[2])
        private val values = FloatArray(logits.shape.fold(1, Int::times))
        private val merging = Merging(size)

        fun segments(letterbox: Letterbox, map: IntArray): List<Segment> {
            readProposals()
            output("mask_logits").asFloatBuffer().get(values)
            return merging.segments(values, letterbox, map)
        }
    }

    /** Proposals are found and mask logits computed here, and then merged. */
    private inner class Heads(private val tail: HeadsTail) {
        private val size = model.outputs.getValue("class_heatmap").shape.let { Size(it[1], it[2]) }
        private val maskSize = model.outputs.getValue("pixel_embeddings").shape.let { Size(it[1], it[2]) }
        private val heatmap = floats("class_heatmap")
        private val embeddings = floats("mask_embedding_map")
        private val pixels = floats("pixel_embeddings")
        private val locations = IntArray(card.numInstances)
        private val logits = FloatArray(maskSize.height * maskSize.width * card.numInstances)
        private val merging = Merging(maskSize)

        private fun floats(name: String) = FloatArray(model.outputs.getValue(name).shape.fold(1, Int::times))

        fun segments(letterbox: Letterbox, map: IntArray): List<Segment> {
            output("class_heatmap").asFloatBuffer().get(heatmap)
            output("mask_embedding_map").asFloatBuffer().get(embeddings)
            output("pixel_embeddings").asFloatBuffer().get(pixels)
            tail.proposals(heatmap, size.height, size.width, classes, scores, locations)
            tail.maskLogits(embeddings, pixels, classes, locations, logits)
            return merging.segments(logits, letterbox, map)
        }
    }

    private inner class Merging(private val masks: Size) {
        private val merger = Merger(MergeRule.of(card), masks, card.numInstances)
        private val keys = LongArray(card.numInstances)

        fun segments(logits: FloatArray, letterbox: Letterbox, map: IntArray): List<Segment> {
            merger.merge(logits, scores, classes, letterbox)
            for (rank in 0 until merger.ranks) keys[rank] = SegmentFinder.key(merger.categories[rank], merger.instances[rank])
            val onCanvas = card.hardSigmoid || !card.rescalePredictions
            val rows = if (onCanvas) letterbox.rows(merger.size.height) else null
            val columns = if (onCanvas) letterbox.columns(merger.size.width) else null
            val width = merger.size.width
            val read = SegmentFinder.Rows { row, into ->
                val start = (rows?.get(row) ?: row) * width
                for (column in 0 until letterbox.image.width) {
                    val rank = merger.ids[start + (columns?.get(column) ?: column)]
                    into[column] = if (rank == Merger.NONE) 0L else keys[rank]
                }
            }
            return finder.find(letterbox.image.height, letterbox.image.width, read, map, scores, classes)
        }
    }
}
