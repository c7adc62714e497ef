package org.maskconver.segmenter

import java.nio.ByteBuffer

/** One plane of a YUV image: a sample every [pixelStride] bytes, a row every [rowStride] bytes. */
class Plane(val buffer: ByteBuffer, val rowStride: Int, val pixelStride: Int)

/**
 * An image in YUV 4:2:0 as cameras deliver it: full-range BT.601 (JFIF), chroma of half the size, rounded up.
 *
 * @property left first column that counts, and [top] first row, in pixels.
 */
class YuvImage(val y: Plane, val u: Plane, val v: Plane, val left: Int, val top: Int, val height: Int, val width: Int) {
    private var lumas = ByteArray(0)

    /** Converts to RGB, turned clockwise by [rotationDegrees]: 0, 90, 180 or 270. The highest byte of every pixel is 255. */
    fun toRgb(rotationDegrees: Int, into: RgbImage) {
        val turn = Turn(rotationDegrees, height, width)
        into.resize(turn.upright.height, turn.upright.width)
        val pixels = into.pixels
        if (lumas.size < y.rowStride) lumas = ByteArray(y.rowStride)
        val luma = y.buffer.duplicate()
        for (row in 0 until height) {
            luma.position((top + row) * y.rowStride + left * y.pixelStride)
            luma.get(lumas, 0, (width - 1) * y.pixelStride + 1)
            val chromaRow = (top + row) / 2
            var place = turn.start + row * turn.rowStep
            var column = 0
            while (column < width) {
                val chromaColumn = (left + column) / 2
                val blue = (u.buffer.get(chromaRow * u.rowStride + chromaColumn * u.pixelStride).toInt() and 255) - 128
                val red = (v.buffer.get(chromaRow * v.rowStride + chromaColumn * v.pixelStride).toInt() and 255) - 128
                // 1.402, 0.344136, 0.714136 and 1.772 in 1/65536, for the two pixels that share them
                val toRed = 91881 * red + 32768 shr 16
                val toGreen = 22554 * blue + 46802 * red + 32768 shr 16
                val toBlue = 116130 * blue + 32768 shr 16
                val end = minOf(2 * chromaColumn + 2 - left, width)
                while (column < end) {
                    val shade = lumas[column++ * y.pixelStride].toInt() and 255
                    pixels[place] = OPAQUE or (level(shade + toRed) shl 16) or (level(shade - toGreen) shl 8) or level(shade + toBlue)
                    place += turn.columnStep
                }
            }
        }
    }

    private companion object {
        const val OPAQUE = 0xFF shl 24

        fun level(value: Int) = value.coerceIn(0, 255)
    }
}
