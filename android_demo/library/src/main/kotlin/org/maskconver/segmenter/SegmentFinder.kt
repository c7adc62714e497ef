package org.maskconver.segmenter

import kotlin.math.max
import kotlin.math.min

/**
 * Finds the segments of a map that is read row by row.
 *
 * A thing is an instance of a category, and stuff is a category outside all instances. Ids count from 1 in the order of category
 * and instance.
 */
internal class SegmentFinder(private val categories: List<Category>) {
    private val names = categories.associate { it.id to it.name }
    private val zeroIsVoid = 0 !in names
    private var keys = LongArray(0)

    /** One row's segments: `category shl 32 or instance` of each pixel, or less than `1 shl 32` for void or category 0. */
    fun interface Rows {
        fun read(row: Int, into: LongArray)
    }

    private class Found(val key: Long, val place: Int) {
        var area = 0
        var left = Int.MAX_VALUE
        var top = Int.MAX_VALUE
        var right = 0
        var bottom = 0

        fun add(row: Int, first: Int, end: Int) {
            area += end - first
            left = min(left, first)
            right = max(right, end)
            top = min(top, row)
            bottom = max(bottom, row + 1)
        }
    }

    /**
     * Fills a panoptic map [height, width]; its segments are returned, best score first.
     *
     * [scores] and [classes] are those of all proposals, in any order.
     */
    fun find(height: Int, width: Int, rows: Rows, map: IntArray, scores: FloatArray, classes: IntArray): List<Segment> {
        if (keys.size < width) keys = LongArray(width)
        val found = LinkedHashMap<Long, Found>()
        for (row in 0 until height) {
            rows.read(row, keys)
            findRuns(row, width, map, found)
        }
        val ordered = found.values.sortedBy { it.key }
        val ids = IntArray(found.size + 1)
        ordered.forEachIndexed { i, segment -> ids[segment.place] = i + 1 }
        for (at in 0 until height * width) map[at] = ids[map[at]]
        val byRank = scores.sortedDescending()
        return ordered.map { segment(ids[it.place], it, byRank, scores, classes) }.sortedWith(compareBy({ -it.score }, { it.id }))
    }

    private fun findRuns(row: Int, width: Int, map: IntArray, found: HashMap<Long, Found>) {
        var first = 0
        while (first < width) {
            val key = keys[first]
            var end = first + 1
            while (end < width && keys[end] == key) end++
            val segment = if (zeroIsVoid && key < 1L shl 32) null else found.getOrPut(key) { Found(key, found.size + 1) }
            segment?.add(row, first, end)
            map.fill(segment?.place ?: 0, row * width + first, row * width + end)
            first = end
        }
    }

    private fun segment(id: Int, found: Found, byRank: List<Float>, scores: FloatArray, classes: IntArray): Segment {
        val category = (found.key shr 32).toInt()
        val instance = found.key.toInt()
        val best = classes.indices.filter { classes[it] == category }.maxOfOrNull { scores[it] }
        val score = if (instance > 0) byRank.getOrElse(instance - 1) { 0f } else best ?: 0f
        val box = Box(found.left, found.top, found.right - found.left, found.bottom - found.top)
        return Segment(id, category, names[category] ?: "class $category", instance > 0, score, found.area, box)
    }

    companion object {
        /** The key of a pixel; what is no category is void, what is no instance is stuff. */
        fun key(category: Int, instance: Int): Long = max(category, 0).toLong() shl 32 or max(instance, 0).toLong()
    }
}
