package org.maskconver.segmenter

/**
 * An upright image as 0xRRGGBB in rows; the highest byte is ignored. Meant to be filled again and again.
 *
 * @property pixels at least `height * width` of them.
 */
class RgbImage {
    var pixels = IntArray(0)
        private set
    var height = 0
        private set
    var width = 0
        private set

    /** Makes room for an image; the pixels are kept where they fit. */
    fun resize(height: Int, width: Int) {
        require(height > 0 && width > 0) { "an image of ${width}x$height pixels" }
        if (height.toLong() * width > MAX_PIXELS) {
            throw MaskConverException("an image of over ${MAX_PIXELS / 1_000_000} million pixels; make it smaller first")
        }
        if (pixels.size < height * width) pixels = IntArray(height * width)
        this.height = height
        this.width = width
    }

    /** Becomes [image] at half its size, every pixel the mean of four; an odd last row or column is left out. */
    fun halve(image: RgbImage) {
        resize(image.height / 2, image.width / 2)
        val from = image.pixels
        var at = 0
        for (row in 0 until height) {
            var above = 2 * row * image.width
            for (column in 0 until width) {
                val below = above + image.width
                // Red and blue are far enough apart to be added at once.
                val ends = (from[above] and ENDS) + (from[above + 1] and ENDS) + (from[below] and ENDS) + (from[below + 1] and ENDS)
                val green = (from[above] and MIDDLE) + (from[above + 1] and MIDDLE) + (from[below] and MIDDLE) + (from[below + 1] and MIDDLE)
                pixels[at++] = (ends + HALF_ENDS shr 2 and ENDS) or (green + HALF_MIDDLE shr 2 and MIDDLE)
                above += 2
            }
        }
    }

    companion object {
        const val MAX_PIXELS = 64_000_000
        private const val ENDS = 0xFF00FF
        private const val MIDDLE = 0xFF00
        private const val HALF_ENDS = 0x020002
        private const val HALF_MIDDLE = 0x0200
    }
}

/**
 * Where the pixels of a turned image go.
 *
 * Pixel (row, column) of an image of [height] x [width] goes to `start + row * rowStep + column * columnStep` of the upright one.
 *
 * @param degrees clockwise turn that makes the image upright: 0, 90, 180 or 270.
 */
internal class Turn(degrees: Int, height: Int, width: Int) {
    val upright: Size
    val start: Int
    val rowStep: Int
    val columnStep: Int

    init {
        val last = height * width - 1
        val steps = when (degrees) {
            0 -> Triple(0, width, 1)
            90 -> Triple(height - 1, -1, height)
            180 -> Triple(last, -width, -1)
            270 -> Triple(last - height + 1, 1, -height)
            else -> throw MaskConverException("a rotation of $degrees degrees; expected 0, 90, 180 or 270")
        }
        start = steps.first
        rowStep = steps.second
        columnStep = steps.third
        upright = if (degrees % 180 == 0) Size(height, width) else Size(width, height)
    }

    /** Copies a turned image's pixels to where they belong in the upright one. */
    fun copy(from: IntArray, height: Int, width: Int, to: IntArray) {
        for (row in 0 until height) {
            var place = start + row * rowStep
            for (column in 0 until width) {
                to[place] = from[row * width + column]
                place += columnStep
            }
        }
    }
}
