package org.maskconver.mobile

import org.maskconver.segmenter.RgbImage
import org.maskconver.segmenter.YuvImage

/** A picture of the camera, upright, and how long it took to read it. */
class Frame {
    /** As it is shown. */
    val picture = RgbImage()
    private val half = RgbImage()

    /** As it is segmented: at half its size if it is large, for the map of a large picture takes long. */
    var image = picture
        private set
    var decodeMs = 0.0

    /** Takes a picture that a turn of [degrees] clockwise makes upright. */
    fun read(yuv: YuvImage, degrees: Int) {
        val start = System.nanoTime()
        yuv.toRgb(degrees, picture)
        val isLarge = picture.height * picture.width > MAP_PIXELS
        if (isLarge) half.halve(picture)
        image = if (isLarge) half else picture
        decodeMs = (System.nanoTime() - start) / 1e6
    }

    private companion object {
        const val MAP_PIXELS = 640 * 480
    }
}

/** Hands the newest frame from one thread to another; older ones are dropped. Three frames go round and round. */
class NewestFrame {
    private var free = Frame()
    private var newest = Frame()
    private var taken = Frame()
    private var isNew = false

    /** Fills a frame and makes it the newest; called by one thread alone. */
    fun put(fill: (Frame) -> Unit) {
        fill(free)
        synchronized(this) {
            val filled = free
            free = newest
            newest = filled
            isNew = true
        }
    }

    /** The newest frame, or null if it was taken already; it stays as it is until the next call. */
    fun take(): Frame? = synchronized(this) {
        if (!isNew) return null
        isNew = false
        val next = newest
        newest = taken
        taken = next
        next
    }
}
