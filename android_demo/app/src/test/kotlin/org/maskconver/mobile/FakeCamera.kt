package org.maskconver.mobile

import android.graphics.Bitmap
import java.nio.ByteBuffer
import org.maskconver.segmenter.Plane
import org.maskconver.segmenter.YuvImage

/** A camera that is always there. */
class FakeCamera(override val sensorDegrees: Int, override val isFront: Boolean) : FrameSource {
    override val hasTorch = !isFront
    var lit = false
    var running = false

    override fun start(front: Boolean): Boolean {
        running = front == isFront
        return running
    }

    override fun setTorch(on: Boolean) {
        lit = on
    }

    override fun stop() {
        running = false
    }
}

/** Pictures as a camera would deliver them. */
object FakeFrames {
    /** A picture as YUV, turned so that a turn of [degrees] clockwise makes it upright; chroma is interleaved as on most phones. */
    fun of(picture: Bitmap, degrees: Int): YuvImage {
        val turned = android.graphics.Matrix().apply { postRotate(-degrees.toFloat()) }
        val raw = Bitmap.createBitmap(picture, 0, 0, picture.width, picture.height, turned, false)
        val (height, width) = raw.height to raw.width
        val luma = ByteBuffer.allocateDirect(height * width)
        val chroma = ByteBuffer.allocateDirect(height / 2 * width)
        for (row in 0 until height) for (column in 0 until width) {
            val pixel = raw.getPixel(column, row)
            val (r, g, b) = listOf(pixel shr 16 and 255, pixel shr 8 and 255, pixel and 255)
            luma.put(row * width + column, (0.299 * r + 0.587 * g + 0.114 * b).toInt().toByte())
            if (row % 2 == 0 && column % 2 == 0 && row / 2 < height / 2) {
                chroma.put(row / 2 * width + column, (128 - 0.168736 * r - 0.331264 * g + 0.5 * b).toInt().toByte())
                chroma.put(row / 2 * width + column + 1, (128 + 0.5 * r - 0.418688 * g - 0.081312 * b).toInt().toByte())
            }
        }
        val red = chroma.duplicate().apply { position(1) }.slice()
        return YuvImage(Plane(luma, width, 1), Plane(chroma, width, 2), Plane(red, width, 2), 0, 0, height, width)
    }
}
