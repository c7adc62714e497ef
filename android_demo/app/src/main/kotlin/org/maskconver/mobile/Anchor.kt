package org.maskconver.mobile

import org.maskconver.segmenter.PanopticResult
import org.maskconver.segmenter.Segment

/** Where a segment's label stands. */
internal object Anchor {
    private const val ROWS = 24

    /** The middle of the longest run of a segment's pixels among some rows of its box, weighted towards the middle row. */
    fun of(result: PanopticResult, segment: Segment): Pair<Int, Int> {
        val box = segment.box
        var best = Triple(-1f, box.x + box.width / 2, box.y + box.height / 2)
        for (step in 0 until minOf(ROWS, box.height)) {
            val row = box.y + (2 * step + 1) * box.height / (2 * minOf(ROWS, box.height))
            val off = Math.abs(row - box.y - box.height / 2f) / box.height
            val (length, middle) = longestRun(result, segment, row)
            val worth = length * (1 - off)
            if (worth > best.first) best = Triple(worth, middle, row)
        }
        return best.second to best.third
    }

    private fun longestRun(result: PanopticResult, segment: Segment, row: Int): Pair<Int, Int> {
        var best = 0 to segment.box.x + segment.box.width / 2
        var length = 0
        for (column in segment.box.x..segment.box.x + segment.box.width) {
            val inside = column < result.width && result.panopticMap[row * result.width + column] == segment.id
            if (inside) length++
            if (!inside || column == segment.box.x + segment.box.width) {
                if (length > best.first) best = length to column - length / 2 - 1
                length = 0
            }
        }
        return best
    }
}
