package org.maskconver.segmenter

import java.io.IOException
import kotlin.math.max
import kotlin.math.sqrt
import kotlin.math.tanh

/**
 * What stands behind the three head maps, for graphs that end there: proposals and mask logits.
 *
 * E is the size of an embedding. Weights are row-major: class embeddings [classes, E], kernels [2, E, E], all else [.., E].
 */
internal class HeadsTail private constructor(
    private val size: Int,
    private val classEmbeddings: FloatArray,
    private val kernels: FloatArray,
    private val biases: FloatArray,
    private val gamma: FloatArray,
    private val beta: FloatArray,
) {
    /** The best local maxima of class logits [h, w, C], best first: fills [classes], [scores] and [locations] (`y * w + x`). */
    fun proposals(heatmap: FloatArray, height: Int, width: Int, classes: IntArray, scores: FloatArray, locations: IntArray) {
        val count = heatmap.size / (height * width)
        val probability = FloatArray(heatmap.size) { 0.5f * (tanh(0.5f * heatmap[it]) + 1f) }
        val best = Best(scores.size)
        for (y in 0 until height) for (x in 0 until width) for (c in 0 until count) {
            val at = (y * width + x) * count + c
            var largest = probability[at]
            for (v in max(y - 1, 0)..minOf(y + 1, height - 1)) for (u in max(x - 1, 0)..minOf(x + 1, width - 1)) {
                largest = max(largest, probability[(v * width + u) * count + c])
            }
            best.offer(if (largest - probability[at] < PEAK_ERROR) probability[at] else 0f, at)
        }
        for (k in scores.indices) {
            scores[k] = best.values[k]
            classes[k] = best.places[k] % count
            locations[k] = best.places[k] / count
        }
    }

    /** Mask logits [h, w, K] from pixel embeddings [h, w, E] and the embeddings [.., E] at the proposals' locations. */
    fun maskLogits(embeddings: FloatArray, pixels: FloatArray, classes: IntArray, locations: IntArray, logits: FloatArray) {
        val count = classes.size
        val kernels = Array(count) { kernel(embeddings, locations[it], classes[it]) }
        for (p in 0 until pixels.size / size) for (k in 0 until count) {
            var sum = 0f
            for (e in 0 until size) sum += pixels[p * size + e] * kernels[k][e]
            logits[p * count + k] = sum
        }
    }

    /** Times the class embedding, dense, layer norm, relu, dense. */
    private fun kernel(embeddings: FloatArray, location: Int, category: Int): FloatArray {
        val x = dense(FloatArray(size) { embeddings[location * size + it] * classEmbeddings[category * size + it] }, 0)
        val mean = x.sum() / size
        for (e in x.indices) x[e] -= mean
        val deviation = sqrt(x.fold(0f) { sum, v -> sum + v * v } / size + EPSILON)
        for (e in x.indices) x[e] = max(x[e] / deviation * gamma[e] + beta[e], 0f)
        return dense(x, 1)
    }

    private fun dense(x: FloatArray, layer: Int) = FloatArray(size) { out ->
        var sum = 0f
        for (e in x.indices) sum += x[e] * kernels[(layer * size + e) * size + out]
        sum + biases[layer * size + out]
    }

    /** The largest values with their places, largest first; ties in the order offered. */
    private class Best(private val count: Int) {
        val values = FloatArray(count)
        val places = IntArray(count)
        private var size = 0

        fun offer(value: Float, place: Int) {
            if (size == count && value <= values[count - 1]) return
            var at = if (size < count) size++ else count - 1
            while (at > 0 && values[at - 1] < value) {
                values[at] = values[at - 1]
                places[at] = places[at - 1]
                at--
            }
            values[at] = value
            places[at] = place
        }
    }

    companion object {
        private const val PEAK_ERROR = 1e-6f
        private const val EPSILON = 1e-6f

        /** @throws MaskConverException the weights are damaged; [file] names their origin. */
        fun read(content: ByteArray, file: String): HeadsTail = try {
            val arrays = Npz.read(content)
            fun array(name: String, shape: (List<Int>) -> Boolean): FloatArray {
                val found = requireNotNull(arrays[name]) { "$name is missing" }
                require(shape(found.shape)) { "$name has shape ${found.shape}" }
                return found.floats()
            }
            val embeddings = array("class_embeddings") { it.size == 2 }
            val size = arrays.getValue("class_embeddings").shape[1]
            HeadsTail(
                size,
                embeddings,
                array("kernels") { it == listOf(2, size, size) },
                array("biases") { it == listOf(2, size) },
                array("gamma") { it == listOf(size) },
                array("beta") { it == listOf(size) },
            )
        } catch (error: IOException) {
            throw damaged(file, error)
        } catch (error: IllegalArgumentException) {
            throw damaged(file, error)
        }

        private fun damaged(file: String, error: Exception) =
            MaskConverException("$file: the weights behind its heads are damaged; convert it again", error)
    }

    /** Whether it belongs to heads of [classes] classes and embeddings of [embedding] numbers. */
    fun fits(classes: Int, embedding: Int): Boolean = embedding == size && classEmbeddings.size == classes * size
}
