package org.maskconver.segmenter

import kotlin.math.ceil
import kotlin.math.max
import kotlin.math.min
import kotlin.math.round

/**
 * An image axis cut into tiles of 8 pixels or so that never cross a sample of a coarse mask; tile t lies between the lattice
 * points t and t + 1.
 *
 * The first [pixels] of an axis are cut where [samples] mask values cover [extent] pixels.
 */
internal class TileAxis(val samples: Int, val extent: Int, val pixels: Int) {
    // Larger images have larger tiles: looking at many tiles costs as much as looking into a few.
    private val parts = max(1, round(extent.toDouble() / samples / max(TILE, extent / TILES_PER_AXIS)).toInt())
    private val exactStep = samples.toDouble() / extent * parts

    /** How many tiles there are. */
    val count = ((pixels - 0.5) * exactStep + 0.5 * parts).toInt() + 1

    /** First pixel of each tile, and [pixels] at the end. */
    val start = IntArray(count + 1) { if (it == count) pixels else ceil((it - 0.5 * parts) / exactStep - 0.5).toInt().coerceIn(0, pixels) }

    /** Where a tile's first pixel stands in it, the tile being 1 long. */
    val phase = FloatArray(count) { ((start[it] + 0.5) * exactStep + 0.5 * parts - it).toFloat() }

    /** From pixel to pixel, in the same unit. */
    val step = exactStep.toFloat()

    /** A lattice point is mask[[low]] + [weight] (mask[[high]] - mask[[low]]). */
    val low = IntArray(count + 1) { sample(it).toInt() }
    val high = IntArray(count + 1) { min(low[it] + 1, samples - 1) }
    val weight = FloatArray(count + 1) { (sample(it) - low[it]).toFloat() }

    // Half-pixel centres: pixel i stands at sample (i + 0.5) samples / extent - 0.5, lattice point 0 at sample -1.
    private fun sample(point: Int) = (point.toDouble() / parts - 1).coerceIn(0.0, samples - 1.0)

    private companion object {
        const val TILE = 8.0
        const val TILES_PER_AXIS = 100.0
    }
}
