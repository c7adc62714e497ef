package org.maskconver.mobile

/** How often something happened per second, over the last few times. */
class Rate {
    private val times = ArrayDeque<Long>()

    /** Counts one more at this time in milliseconds. */
    fun count(now: Long): Double {
        times.addLast(now)
        while (times.size > WINDOW) times.removeFirst()
        val span = times.last() - times.first()
        return if (span <= 0) 0.0 else (times.size - 1) * 1000.0 / span
    }

    private companion object {
        const val WINDOW = 12
    }
}
