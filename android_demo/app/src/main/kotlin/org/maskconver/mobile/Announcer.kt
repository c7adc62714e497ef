package org.maskconver.mobile

import org.maskconver.segmenter.Segment

/** Says what is seen, for TalkBack: only what is news, and with pauses. */
class Announcer(private val clock: () -> Long) {
    private var last = ""
    private var next = Long.MIN_VALUE

    /** Words to be spoken now, or null. */
    fun words(segments: List<Segment>): String? {
        val counts = segments.sortedByDescending { it.area }.groupingBy { it.label }.eachCount().entries.take(MOST)
        val words = counts.joinToString { (label, count) -> if (count > 1) "$count × $label" else label }
        val now = clock()
        if (words.isEmpty() || words == last || now < next) return null
        last = words
        next = now + PAUSE_MS
        return words
    }

    private companion object {
        const val MOST = 4
        const val PAUSE_MS = 4000L
    }
}
