package org.maskconver.segmenter

import kotlin.math.max
import kotlin.math.min
import kotlin.math.round

/** Colours of segments, 0xRRGGBB. */
internal object SegmentColors {
    private const val GOLDEN_RATIO = 0.618033988749895

    fun of(segments: List<Segment>, categories: List<Category>): Map<Int, Int> {
        val bases = categories.associate { it.id to it.color }
        val seen = HashMap<Int, Int>()
        return segments.sortedBy { it.id }.associate { segment ->
            val step = seen.getOrDefault(segment.categoryId, 0)
            seen[segment.categoryId] = step + 1
            segment.id to vary(bases[segment.categoryId] ?: ofNumber(segment.categoryId), step)
        }
    }

    /** Hue and lightness swing ever further from the colour's own: 0, +1, -1, +2, ... */
    private fun vary(color: Int, step: Int): Int {
        if (step == 0) return color
        val swing = (step + 1) / 2 * (if (step % 2 == 1) 1 else -1)
        val (red, green, blue) = List(3) { (color shr (16 - 8 * it) and 255) / 255.0 }
        val high = max(red, max(green, blue))
        val low = min(red, min(green, blue))
        val lightness = 0.25 + ((high + low) / 2 - 0.25 + 0.17 * swing).mod(0.55)
        return fromHls((hue(red, green, blue, high, low) + 0.05 * swing).mod(1.0), lightness, max(saturation(high, low), 0.3))
    }

    private fun hue(red: Double, green: Double, blue: Double, high: Double, low: Double): Double {
        if (high == low) return 0.0
        val sixth = when (high) {
            red -> (green - blue) / (high - low)
            green -> 2 + (blue - red) / (high - low)
            else -> 4 + (red - green) / (high - low)
        }
        return (sixth / 6).mod(1.0)
    }

    private fun saturation(high: Double, low: Double) = when {
        high == low -> 0.0
        (high + low) / 2 <= 0.5 -> (high - low) / (high + low)
        else -> (high - low) / (2 - high - low)
    }

    private fun fromHls(hue: Double, lightness: Double, saturation: Double): Int {
        val high = if (lightness <= 0.5) lightness * (1 + saturation) else lightness + saturation - lightness * saturation
        val low = 2 * lightness - high
        fun channel(turn: Double): Int {
            val h = turn.mod(1.0)
            val value = when {
                h < 1 / 6.0 -> low + (high - low) * h * 6
                h < 0.5 -> high
                h < 2 / 3.0 -> low + (high - low) * (2 / 3.0 - h) * 6
                else -> low
            }
            return round(value * 255).toInt()
        }
        return channel(hue + 1 / 3.0) shl 16 or (channel(hue) shl 8) or channel(hue - 1 / 3.0)
    }

    /** A colour for a class that the label set lacks; neighbours differ. */
    private fun ofNumber(number: Int): Int {
        val value = doubleArrayOf(0.95, 0.9, 0.65)[number / 3 % 3]
        val saturation = doubleArrayOf(0.9, 0.55, 0.75)[number % 3]
        val lightness = value * (1 - saturation / 2)
        val own = if (lightness in 1e-9..1 - 1e-9) (value - lightness) / min(lightness, 1 - lightness) else 0.0
        return fromHls((number * GOLDEN_RATIO).mod(1.0), lightness, own)
    }
}
