package org.maskconver.mobile

import org.maskconver.segmenter.RgbImage

/** A picture of the camera, upright, and how long it took to read it. */
class Frame {
    val image = RgbImage()
    var decodeMs = 0.0
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
