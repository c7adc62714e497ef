package org.maskconver.segmenter

import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest

/** A tensor at the graph's edge: [position] counts within the graph's inputs or outputs. */
internal data class Edge(val position: Int, val type: Int, val shape: List<Int>)

/**
 * A model file in memory, checked before an interpreter sees it.
 *
 * @property content the flatbuffer, direct, for an interpreter that lives no longer than this.
 * @property card what the file says of itself.
 * @property outputs the graph's outputs by name.
 */
class ModelFile private constructor(
    internal val name: String,
    internal val content: ByteBuffer,
    val card: ModelCard,
    internal val outputs: Map<String, Edge>,
    internal val tail: HeadsTail?,
) {
    /** Size of the file. */
    val bytes: Int get() = content.limit()

    /** SHA-256 of the file as hexadecimal digits. */
    val sha256: String by lazy {
        val digest = MessageDigest.getInstance("SHA-256")
        digest.update(content.duplicate().apply { rewind() })
        digest.digest().joinToString("") { "%02x".format(it) }
    }

    /** The flatbuffer; without [halfPrecision] a copy in which the note that permits float16 has another name. */
    internal fun content(halfPrecision: Boolean): ByteBuffer {
        if (halfPrecision || !card.halfPrecision) return content
        val copy = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())
        copy.put(content.duplicate().apply { rewind() })
        for (place in GraphCheck(copy).metadataNames(HALF_PRECISION_KEY)) copy.put(place, '-'.code.toByte())
        copy.rewind()
        return copy
    }

    companion object {
        /** Larger files are refused. */
        const val MAX_BYTES = 1 shl 29
        private const val TAIL_KEY = "maskconver_tail"
        private const val HALF_PRECISION_KEY = "reduced_precision_support"

        /**
         * Reads a model; [name] stands for it in errors.
         *
         * @throws MaskConverException it is empty, too large, no model, damaged, without a card or with one of another version.
         */
        fun read(stream: InputStream, name: String, sizeHint: Long = 0): ModelFile {
            if (sizeHint > MAX_BYTES) throw tooLarge(name)
            val content = try {
                readAll(stream, name, sizeHint.toInt())
            } catch (error: IOException) {
                throw MaskConverException("$name: cannot be read (${error.message}); copy it to the phone again", error)
            } catch (error: OutOfMemoryError) {
                throw MaskConverException("$name: does not fit into this phone's memory; use a smaller model", error)
            }
            return check(content, name)
        }

        private fun readAll(stream: InputStream, name: String, sizeHint: Int): ByteBuffer {
            val chunk = ByteArray(1 shl 16)
            var content = ByteBuffer.allocateDirect(maxOf(sizeHint, chunk.size)).order(ByteOrder.nativeOrder())
            while (true) {
                val count = stream.read(chunk)
                if (count < 0) break
                if (count > content.remaining()) {
                    if (content.position() + count > MAX_BYTES) throw tooLarge(name)
                    val larger = ByteBuffer.allocateDirect(minOf(2L * (content.position() + count), MAX_BYTES.toLong()).toInt())
                    content.flip()
                    content = larger.order(ByteOrder.nativeOrder()).put(content)
                }
                content.put(chunk, 0, count)
            }
            content.flip()
            return content.slice().order(ByteOrder.nativeOrder())
        }

        private fun check(content: ByteBuffer, name: String): ModelFile {
            if (content.limit() < 8 || "TFL3".indices.any { content.get(4 + it) != "TFL3"[it].code.toByte() }) {
                throw MaskConverException("$name: is no TFLite model; choose a .tflite file made by maskconver-mobile")
            }
            return try {
                val graph = GraphCheck(content.duplicate().order(ByteOrder.LITTLE_ENDIAN))
                graph.check()
                val card = graph.metadata(ModelCard.KEY)
                    ?: throw MaskConverException("$name: carries no model card; make it with `maskconver-mobile convert`")
                val tail = graph.metadata(TAIL_KEY)
                of(name, content, ModelCard.fromJson(card.toString(Charsets.UTF_8), name), graph, tail)
            } catch (error: DamagedModelException) {
                throw MaskConverException("$name: is a damaged TFLite model (${error.message}); copy it to the phone again", error)
            }
        }

        private fun of(name: String, content: ByteBuffer, card: ModelCard, graph: GraphCheck, tail: ByteArray?): ModelFile {
            if ((tail == null) != (card.level != Level.HEADS)) {
                throw MaskConverException("$name: its card says level ${card.level}, its contents do not; convert it again")
            }
            val (inputs, outputs) = graph.signature()
            ModelShape.check(name, card, inputs, outputs)
            return ModelFile(name, content, card, outputs, tail?.let { tailOf(name, it, outputs) })
        }

        private fun tailOf(name: String, content: ByteArray, outputs: Map<String, Edge>): HeadsTail {
            val (classes, embedding) = listOf("class_heatmap", "mask_embedding_map").map { outputs.getValue(it).shape[3] }
            return HeadsTail.read(content, name).also {
                if (!it.fits(classes, embedding)) {
                    throw MaskConverException("$name: the weights behind its heads are not its own; convert it again")
                }
            }
        }

        private fun tooLarge(name: String) = MaskConverException("$name: is larger than ${MAX_BYTES shr 20} MiB; use a smaller model")
    }
}
