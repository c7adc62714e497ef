package org.maskconver.mobile

import android.os.Bundle
import org.json.JSONArray
import org.json.JSONObject
import org.maskconver.segmenter.Accelerator
import org.maskconver.segmenter.Graph
import org.maskconver.segmenter.MaskConverException
import org.maskconver.segmenter.Options

/**
 * What `adb shell am start` asks of [BenchmarkActivity]; the extras have the properties' names in snake case.
 *
 * @property model path of a model file; the bundled model if null.
 * @property runs timed runs at least, 0 for none.
 * @property warmup runs before them.
 * @property minSeconds timed runs go on at least so long.
 * @property profile whole passes on a photo, stage by stage, as well.
 * @property image path of the photo for [profile]; the bundled one if null.
 * @property inputs paths of raw input tensors, which the timed runs take in turn; what the graph makes of each is written to files.
 */
class BenchmarkRequest private constructor(extras: Bundle) {
    val model: String? = text(extras, "model")
    val threads: Int = whole(extras, "threads", 4, 1..Graph.MAX_THREADS)
    val runs: Int = whole(extras, "runs", 50, 0..100_000)
    val warmup: Int = whole(extras, "warmup", 5, 0..10_000)
    val minSeconds: Float = value<Float>(extras, "min_seconds", "a number (--ef)")?.also {
        if (it !in 0f..3600f) throw MaskConverException("min_seconds is $it; expected 0 to 3600")
    } ?: 0f
    val accelerator: Accelerator = when (val name = text(extras, "accelerator") ?: "cpu") {
        "cpu" -> Accelerator.CPU
        "gpu" -> Accelerator.GPU
        else -> throw MaskConverException("accelerator is '$name'; expected cpu or gpu")
    }
    val halfPrecision: Boolean = value<Boolean>(extras, "half_precision", "true or false (--ez)") ?: true
    val profile: Boolean = value<Boolean>(extras, "profile", "true or false (--ez)") ?: false
    val image: String? = text(extras, "image")
    val inputs: List<String> = value<Array<String>>(extras, "inputs", "a list of texts (--esa)")?.toList()?.also {
        if (it.size !in 1..MAX_INPUTS) throw MaskConverException("inputs has ${it.size} paths; expected 1 to $MAX_INPUTS")
    } ?: emptyList()

    val options: Options get() = Options(threads, accelerator, halfPrecision)

    fun toJson(): JSONObject = JSONObject()
        .put("model", model ?: JSONObject.NULL).put("threads", threads).put("runs", runs).put("warmup", warmup)
        .put("min_seconds", minSeconds.toDouble()).put("accelerator", accelerator.name.lowercase()).put("half_precision", halfPrecision)
        .put("profile", profile).put("image", image ?: JSONObject.NULL).put("inputs", JSONArray(inputs))

    companion object {
        /** Version of the extras and of the JSON that is written. */
        const val CONTRACT = 1
        private const val MAX_INPUTS = 100
        private val RUN = Regex("[A-Za-z0-9_-]{1,64}")

        /** The name of the run, or null if there is no valid one. */
        fun runOf(extras: Bundle): String? = extras.getString("run")?.takeIf(RUN::matches)

        /** @throws MaskConverException an extra is not as it should be. */
        fun of(extras: Bundle): BenchmarkRequest {
            val contract = whole(extras, "contract", CONTRACT, 1..Int.MAX_VALUE)
            if (contract > CONTRACT) {
                throw MaskConverException("the computer speaks contract $contract and this app $CONTRACT; install the app anew")
            }
            return BenchmarkRequest(extras)
        }

        private fun text(extras: Bundle, key: String): String? = value<String>(extras, key, "text (--es)")

        private fun whole(extras: Bundle, key: String, default: Int, range: IntRange): Int {
            val found = value<Int>(extras, key, "a whole number (--ei)") ?: return default
            if (found !in range) throw MaskConverException("$key is $found; expected ${range.first} to ${range.last}")
            return found
        }

        @Suppress("DEPRECATION") // The typed successor needs Android 13, and to know a wrong type this one is needed.
        private inline fun <reified T> value(extras: Bundle, key: String, kind: String): T? {
            val found: Any = extras.get(key) ?: return null
            return found as? T ?: throw MaskConverException("$key is '$found'; expected $kind")
        }
    }
}
