package org.maskconver.segmenter

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

class MergerTest {
    private val things = BooleanArray(91) { it > 0 }

    private fun case(arrays: Map<String, NpyArray>, name: String) = arrays.getValue(name)

    private fun maps(merger: Merger): Pair<IntArray, IntArray> {
        val ids = merger.ids.copyOf(merger.size.height * merger.size.width)
        return ids.map { merger.categories[it] }.toIntArray() to ids.map { merger.instances[it] }.toIntArray()
    }

    @Test
    fun everyPixelIsTheOriginalImplementations() {
        val arrays = Npz.read(Fixtures.repository.resolve("tests/data/merge_cases.npz").readBytes())
        val cases = arrays.keys.map { it.substringBefore('/') }.toSortedSet()
        assertEquals(3, cases.size)
        for (i in cases) {
            val logits = case(arrays, "$i/logits")
            val expected = case(arrays, "$i/category_map")
            val canvas = Size(expected.shape[0], expected.shape[1])
            val info = case(arrays, "$i/image_info").floats().map(Float::toInt)
            val hard = case(arrays, "$i/hard_sigmoid").ints()[0] != 0
            val (score, overlap, area) = case(arrays, "$i/thresholds").floats().map(Float::toDouble)
            val rule = MergeRule(score, overlap, area, canvas, hard, things)
            val merger = Merger(rule, Size(logits.shape[0], logits.shape[1]), logits.shape[2])
            val letterbox = Letterbox.fit(Size(info[0], info[1]), Size(info[2], info[3]))
            merger.merge(logits.floats(), case(arrays, "$i/scores").floats(), case(arrays, "$i/classes").ints(), letterbox.takeIf { !hard })
            val (categories, instances) = maps(merger)
            // Beyond the image the best proposal stands.
            val size = merger.size
            assertArrayEquals("case $i", onCanvas(categories, size, canvas, merger.categories[0]), expected.ints())
            assertArrayEquals("case $i", onCanvas(instances, size, canvas, merger.instances[0]), case(arrays, "$i/instance_map").ints())
        }
    }

    private fun onCanvas(map: IntArray, size: Size, canvas: Size, beyond: Int) = IntArray(canvas.height * canvas.width) {
        val (row, column) = it / canvas.width to it % canvas.width
        if (row < size.height && column < size.width) map[row * size.width + column] else beyond
    }

    @Test
    fun imagesOfEveryShapeAreMergedAsInPython() {
        val arrays = Fixtures.arrays("merges")
        for (i in arrays.keys.map { it.substringBefore('/') }.toSortedSet()) {
            val expected = case(arrays, "$i/maps")
            val size = Size(expected.shape[1], expected.shape[2])
            val hard = case(arrays, "$i/hard").ints()[0] != 0
            val onCanvas = hard || case(arrays, "$i/rescale").ints()[0] == 0
            val rule = MergeRule(0.1, 0.3, 20.0, Size(96, 128), hard, BooleanArray(6) { it > 0 }, rescale = hard || !onCanvas)
            val merger = Merger(rule, Size(12, 16), 12)
            val letterbox = Letterbox.fit(size, Size(48, 64))
            repeat(2) {
                val (logits, scores) = listOf("logits", "scores").map { case(arrays, "$i/$it").floats() }
                merger.merge(logits, scores, case(arrays, "$i/classes").ints(), letterbox)
            }
            val (categories, instances) = maps(merger)
            val rows = if (onCanvas) letterbox.rows(merger.size.height) else IntArray(size.height) { it }
            val columns = if (onCanvas) letterbox.columns(merger.size.width) else IntArray(size.width) { it }
            val at = rows.flatMap { row -> columns.map { row * merger.size.width + it } }
            val count = size.height * size.width
            assertArrayEquals("case $i $size", expected.ints().copyOf(count), at.map { categories[it] }.toIntArray())
            assertArrayEquals("case $i $size", expected.ints().copyOfRange(count, 2 * count), at.map { instances[it] }.toIntArray())
        }
    }

    @Test
    fun category0IsAClassWhereTheLabelSetHasIt() {
        val categories = listOf(Category(0, "road", false, 0), Category(2, "sky", false, 0))
        for ((labels, expected) in listOf(categories to listOf("road", "sky"), categories.drop(1) to listOf("sky"))) {
            val read = SegmentFinder.Rows { _, into -> for (i in into.indices) into[i] = SegmentFinder.key(if (i < 2) 0 else 2, 0) }
            val map = IntArray(6)
            val found = SegmentFinder(labels).find(2, 3, read, map, floatArrayOf(0.9f), intArrayOf(2))
            assertEquals(expected, found.sortedBy { it.id }.map { it.label })
            assertEquals(if (labels.size == 2) listOf(1, 1, 2) else listOf(0, 0, 1), map.take(3))
        }
    }

    @Test
    fun nothingComesOfNoProposals() {
        val merger = Merger(MergeRule(0.5, 0.3, 20.0, Size(8, 8), false, things), Size(2, 2), 3)
        merger.merge(FloatArray(12) { 5f }, floatArrayOf(0.5f, 0f, Float.NaN), IntArray(3) { 1 }, Letterbox.fit(Size(3, 5), Size(8, 8)))
        assertEquals(0, merger.ranks)
        assertArrayEquals(IntArray(15) { Merger.NONE }, merger.ids)
    }
}
