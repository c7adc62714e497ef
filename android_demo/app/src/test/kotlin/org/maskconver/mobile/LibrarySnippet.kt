package org.maskconver.mobile

import android.content.Context
import android.graphics.Bitmap
import android.media.Image
import org.maskconver.segmenter.MaskConverException
import org.maskconver.segmenter.PanopticResult
import org.maskconver.segmenter.Segmenter

class Scene(context: Context) : AutoCloseable {
    private val segmenter = Segmenter.fromAsset(context, "demo.tflite")
    private var last: PanopticResult? = null

    /** What is on a picture, best first. */
    fun describe(picture: Bitmap): List<String> = try {
        segmenter.segment(picture).segments.map { "${it.label} ${it.score} ${it.box}" }
    } catch (error: MaskConverException) {
        listOf(error.message.orEmpty()) // one line that says what to do
    }

    /** A camera's frame (YUV_420_888) as a transparent overlay; the map of the last frame is used again. */
    fun overlay(frame: Image, rotationDegrees: Int): Bitmap =
        segmenter.segment(frame, rotationDegrees, last).also { last = it }.overlay(opacity = 0.5f)

    override fun close() = segmenter.close()
}
