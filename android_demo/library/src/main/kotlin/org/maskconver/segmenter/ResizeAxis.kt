package org.maskconver.segmenter

import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min
import kotlin.math.round

/** Between which input samples each output sample of a bilinear resize lies, with half-pixel centres. */
internal sealed class ResizeAxis(outputs: Int) {
    val low = IntArray(outputs)
    val high = IntArray(outputs)
}

/** For bytes: weights of the high sample in 1/256, as OpenCV's `INTER_LINEAR_EXACT` has them. */
internal class ByteAxis(inputs: Int, outputs: Int) : ResizeAxis(outputs) {
    val weight = IntArray(outputs)

    init {
        val scale = 1.0 / (outputs.toDouble() / inputs)
        for (i in 0 until outputs) {
            val place = scale * (i + 0.5) - 0.5
            val sample = floor(place).toInt()
            low[i] = sample.coerceIn(0, inputs - 1)
            high[i] = low[i]
            if (sample >= 0 && sample < inputs - 1) {
                high[i] = sample + 1
                weight[i] = round((place - sample) * 256).toInt()
            }
        }
    }
}

/** For floats: weights of the high sample in float32, with every step of the arithmetic in float32. */
internal class FloatAxis(inputs: Int, outputs: Int) : ResizeAxis(outputs) {
    val weight = FloatArray(outputs)

    init {
        val scale = inputs.toFloat() / outputs.toFloat()
        for (i in 0 until outputs) {
            val place = (i.toFloat() + 0.5f) * scale - 0.5f
            val below = floor(place)
            low[i] = max(below.toInt(), 0)
            high[i] = min(ceil(place).toInt(), inputs - 1)
            weight[i] = place - below
        }
    }
}
