package org.maskconver.segmenter

import kotlin.math.ceil
import kotlin.math.min
import kotlin.math.round

/**
 * How an image lies on a model's canvas: scaled with its aspect kept, at the top left.
 *
 * @property image size in the image's own pixels.
 * @property canvas size of the model's input.
 * @property scaled size of the image on the canvas.
 */
data class Letterbox(val image: Size, val canvas: Size, val scaled: Size) {
    /** What the whole canvas covers, in pixels of the image. */
    val extent: Size
        get() = Size(covered(canvas.height, scaled.height, image.height), covered(canvas.width, scaled.width, image.width))

    private fun covered(canvas: Int, scaled: Int, image: Int): Int =
        ceil(canvas.toFloat() / (scaled.toFloat() / image.toFloat())).toInt()

    /** For each row of the image the row of a map of [samples] rows that covers the canvas, by nearest neighbour. */
    internal fun rows(samples: Int) = places(image.height, scaled.height, canvas.height, samples)

    /** As [rows], for columns. */
    internal fun columns(samples: Int) = places(image.width, scaled.width, canvas.width, samples)

    // floor((i + 0.5) scaled / image * samples / canvas), in whole numbers
    private fun places(image: Int, scaled: Int, canvas: Int, samples: Int) =
        IntArray(image) { ((2L * it + 1) * scaled * samples / (2L * image * canvas)).toInt() }

    companion object {
        /** The largest fit, rounded to pixels in float32 as in training, and at least one pixel wide and high. */
        fun fit(image: Size, canvas: Size): Letterbox {
            val scale = min(canvas.height.toFloat() / image.height.toFloat(), canvas.width.toFloat() / image.width.toFloat())
            fun scaled(length: Int) = round(length.toFloat() * scale).toInt().coerceAtLeast(1)
            return Letterbox(image, canvas, Size(scaled(image.height), scaled(image.width)))
        }
    }
}
