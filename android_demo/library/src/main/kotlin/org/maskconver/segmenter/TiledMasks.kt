package org.maskconver.segmenter

import kotlin.math.exp
import kotlin.math.ln
import kotlin.math.max
import kotlin.math.min

/**
 * Masks upsampled bilinearly, asked for winners and areas without making most of the pixels.
 *
 * The image is cut into tiles. Within a tile the interpolated logit is a + b i + c j + d i j of row i and column j, so it stays
 * between the tile's corners: where the worst corner of one mask beats the best of every other, the tile is decided. Only the
 * other tiles are looked into. Buffers are kept from call to call.
 */
internal class TiledMasks {
    private lateinit var y: TileAxis
    private lateinit var x: TileAxis
    private var count = 0
    private var corners = FloatArray(0)
    private var costs = FloatArray(0)
    private var logScores = FloatArray(0)
    private var inverses = FloatArray(0)
    private var able = IntArray(0)
    private var forms = FloatArray(0)

    /**
     * Takes masks: [logits] are [h, w, all], of which those in [order] count, on the top left [size] pixels of the [extent] that
     * they cover.
     */
    fun set(logits: FloatArray, masks: Size, all: Int, order: IntArray, count: Int, extent: Size, size: Size) {
        if (!this::y.isInitialized || !same(y, masks.height, extent.height, size.height)) {
            y = TileAxis(masks.height, extent.height, size.height)
        }
        if (!this::x.isInitialized || !same(x, masks.width, extent.width, size.width)) {
            x = TileAxis(masks.width, extent.width, size.width)
        }
        this.count = count
        val points = (y.count + 1) * (x.count + 1)
        if (corners.size < count * points) {
            corners = FloatArray(count * points)
            costs = FloatArray(count * points)
        }
        if (able.size < count) {
            able = IntArray(count)
            forms = FloatArray(4 * count)
            logScores = FloatArray(count)
            inverses = FloatArray(count)
        }
        for (k in 0 until count) lattice(logits, masks.width, all, order[k], k * points)
    }

    private fun same(axis: TileAxis, samples: Int, extent: Int, pixels: Int) =
        axis.samples == samples && axis.extent == extent && axis.pixels == pixels

    private fun lattice(logits: FloatArray, width: Int, all: Int, mask: Int, start: Int) {
        var at = start
        for (row in 0..y.count) {
            val low = y.low[row] * width
            val high = y.high[row] * width
            val down = y.weight[row]
            for (column in 0..x.count) {
                val left = between(logits[(low + x.low[column]) * all + mask], logits[(high + x.low[column]) * all + mask], down)
                val right = between(logits[(low + x.high[column]) * all + mask], logits[(high + x.high[column]) * all + mask], down)
                corners[at++] = between(left, right, x.weight[column])
            }
        }
    }

    private fun between(low: Float, high: Float, weight: Float) = low + (high - low) * weight

    /** How many pixels mask [k] has with a positive logit. */
    fun area(k: Int): Int {
        var area = 0
        for (row in 0 until y.count) for (column in 0 until x.count) {
            val positive = positiveCorners(k, row, column)
            if (positive == 4) area += tileArea(row, column)
            if (positive in 1..3) area += positivePixels(k, row, column)
        }
        return area
    }

    /** Between which numbers the area of mask [k] must lie: the least in the upper half of the result, the most in the lower. */
    fun areaBounds(k: Int): Long {
        var least = 0L
        var most = 0L
        for (row in 0 until y.count) for (column in 0 until x.count) {
            val positive = positiveCorners(k, row, column)
            if (positive == 4) least += tileArea(row, column)
            if (positive > 0) most += tileArea(row, column)
        }
        return least shl 32 or most
    }

    private fun positiveCorners(k: Int, row: Int, column: Int): Int {
        val at = corner(k, row, column)
        val below = at + x.count + 1
        return positive(corners[at]) + positive(corners[at + 1]) + positive(corners[below]) + positive(corners[below + 1])
    }

    private fun positive(value: Float) = if (value > 0f) 1 else 0

    private fun tileArea(row: Int, column: Int) = (y.start[row + 1] - y.start[row]) * (x.start[column + 1] - x.start[column])

    private fun corner(k: Int, row: Int, column: Int) = (k * (y.count + 1) + row) * (x.count + 1) + column

    private fun positivePixels(k: Int, row: Int, column: Int): Int {
        bilinear(k, row, column, 0)
        var found = 0
        for (i in 0 until y.start[row + 1] - y.start[row]) for (j in 0 until x.start[column + 1] - x.start[column]) {
            if (value(0, i, j) > 0f) found++
        }
        return found
    }

    /** (a, b, c, d) of a mask in a tile, to place [form] of the forms. */
    private fun bilinear(k: Int, row: Int, column: Int, form: Int) {
        val at = corner(k, row, column)
        val a = corners[at]
        val right = corners[at + 1] - a
        val down = corners[at + x.count + 1] - a
        val twist = corners[at + x.count + 2] - a - right - down
        val fall = down + twist * x.phase[column]
        forms[4 * form] = a + right * x.phase[column] + fall * y.phase[row]
        forms[4 * form + 1] = fall * y.step
        forms[4 * form + 2] = (right + twist * y.phase[row]) * x.step
        forms[4 * form + 3] = twist * (y.step * x.step)
    }

    private fun value(form: Int, i: Int, j: Int) =
        forms[4 * form] + forms[4 * form + 1] * i + forms[4 * form + 2] * j + forms[4 * form + 3] * (i * j)

    /**
     * The k of the largest sigmoid(logit_k) score_k at each pixel, the first on ties, written to [ids] [h, w].
     *
     * [scores] are positive and descending. Compared are the inverses, 1 / s + exp(-(logit + log s)), whose order is the same.
     * [areas] become the number of pixels that each k has.
     */
    fun winners(scores: FloatArray, ids: IntArray, areas: IntArray) {
        areas.fill(0, 0, count)
        val points = (y.count + 1) * (x.count + 1)
        for (k in 0 until count) {
            logScores[k] = ln(scores[k])
            inverses[k] = 1 / scores[k]
            for (at in k * points until (k + 1) * points) costs[at] = exp(-logScores[k] - corners[at]) + inverses[k]
        }
        for (row in 0 until y.count) for (column in 0 until x.count) {
            val rivals = findRivals(row, column)
            if (rivals == 1) fillTile(row, column, able[0], ids, areas) else contest(row, column, rivals, ids, areas)
        }
    }

    /** Which masks might win a pixel of a tile; their number is returned. */
    private fun findRivals(row: Int, column: Int): Int {
        var bound = Float.POSITIVE_INFINITY
        for (k in 0 until count) {
            val at = corner(k, row, column)
            val below = at + x.count + 1
            bound = min(bound, max(max(costs[at], costs[at + 1]), max(costs[below], costs[below + 1])))
        }
        bound *= ROOM
        var rivals = 0
        for (k in 0 until count) {
            val at = corner(k, row, column)
            val below = at + x.count + 1
            if (min(min(costs[at], costs[at + 1]), min(costs[below], costs[below + 1])) <= bound) able[rivals++] = k
        }
        return rivals
    }

    private fun fillTile(row: Int, column: Int, winner: Int, ids: IntArray, areas: IntArray) {
        for (i in y.start[row] until y.start[row + 1]) ids.fill(winner, i * x.pixels + x.start[column], i * x.pixels + x.start[column + 1])
        areas[winner] += tileArea(row, column)
    }

    private fun contest(row: Int, column: Int, rivals: Int, ids: IntArray, areas: IntArray) {
        for (r in 0 until rivals) {
            bilinear(able[r], row, column, r)
            forms[4 * r] += logScores[able[r]]
        }
        for (i in 0 until y.start[row + 1] - y.start[row]) {
            val line = (y.start[row] + i) * x.pixels + x.start[column]
            for (j in 0 until x.start[column + 1] - x.start[column]) {
                var winner = able[0]
                var best = Float.POSITIVE_INFINITY
                for (r in 0 until rivals) {
                    val cost = exp(-value(r, i, j)) + inverses[able[r]]
                    if (cost < best) {
                        best = cost
                        winner = able[r]
                    }
                }
                ids[line + j] = winner
                areas[winner]++
            }
        }
    }

    private companion object {
        // Corners are compared with this much room for rounding; what lies within it is looked into.
        const val ROOM = 1 + 1e-5f
    }
}
