package org.maskconver.segmenter

import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.round

/** A model's input tensor [1, H, W, 3], filled with one image after the other. */
class InputTensor(private val card: ModelCard) {
    private val canvas = card.inputSize
    private val valueSize = if (card.inputType == InputType.UINT8) 1 else 4

    /** The tensor, as an interpreter takes it. */
    val buffer: ByteBuffer = ByteBuffer.allocateDirect(canvas.height * canvas.width * 3 * valueSize).order(ByteOrder.nativeOrder())

    private var letterbox: Letterbox? = null
    private var fill: (RgbImage) -> Unit = {}

    /**
     * Lays an image on the canvas; where it lies is returned.
     *
     * The scaling is bilinear with half-pixel centres and without antialiasing; bytes are OpenCV's `INTER_LINEAR_EXACT`. What is
     * left of the canvas has the mean colour, 0 once normalised.
     */
    fun lay(image: RgbImage): Letterbox {
        val size = Size(image.height, image.width)
        val fit = letterbox?.takeIf { it.image == size } ?: Letterbox.fit(size, canvas).also {
            letterbox = it
            fill = if (card.inputType == InputType.UINT8) bytes(it) else floats(it)
        }
        fill(image)
        buffer.rewind()
        return fit
    }

    private fun bytes(fit: Letterbox): (RgbImage) -> Unit {
        val y = ByteAxis(fit.image.height, fit.scaled.height)
        val x = ByteAxis(fit.image.width, fit.scaled.width)
        val mean = card.mean.map { round(it).toInt().toByte() }
        val padding = ByteArray(canvas.width * 3) { mean[it % 3] }
        val line = padding.copyOf()
        return { image ->
            buffer.rewind()
            for (row in 0 until fit.scaled.height) {
                byteLine(image.pixels, y.low[row] * image.width, y.high[row] * image.width, y.weight[row], x, line)
                buffer.put(line)
            }
            repeat(canvas.height - fit.scaled.height) { buffer.put(padding) }
        }
    }

    private fun byteLine(pixels: IntArray, top: Int, bottom: Int, down: Int, x: ByteAxis, line: ByteArray) {
        var at = 0
        for (column in x.low.indices) {
            val right = x.weight[column]
            val a = pixels[top + x.low[column]]
            val b = pixels[top + x.high[column]]
            val c = pixels[bottom + x.low[column]]
            val d = pixels[bottom + x.high[column]]
            for (shift in 16 downTo 0 step 8) {
                val above = (a shr shift and 255) * (256 - right) + (b shr shift and 255) * right
                val below = (c shr shift and 255) * (256 - right) + (d shr shift and 255) * right
                line[at++] = (above * (256 - down) + below * down + 32768 shr 16).toByte()
            }
        }
    }

    private fun floats(fit: Letterbox): (RgbImage) -> Unit {
        val y = FloatAxis(fit.image.height, fit.scaled.height)
        val x = FloatAxis(fit.image.width, fit.scaled.width)
        val normalised = card.inputType == InputType.FLOAT32
        val padding = FloatArray(canvas.width * 3) { if (normalised) 0f else card.mean[it % 3] }
        val mean = FloatArray(3) { if (normalised) card.mean[it] else 0f }
        val std = FloatArray(3) { if (normalised) card.std[it] else 1f }
        val line = padding.copyOf()
        val values = buffer.asFloatBuffer()
        return { image ->
            values.rewind()
            for (row in 0 until fit.scaled.height) {
                floatLine(image.pixels, y.low[row] * image.width, y.high[row] * image.width, y.weight[row], x, line)
                for (i in 0 until fit.scaled.width * 3) line[i] = (line[i] - mean[i % 3]) / std[i % 3]
                values.put(line)
            }
            repeat(canvas.height - fit.scaled.height) { values.put(padding) }
        }
    }

    private fun floatLine(pixels: IntArray, top: Int, bottom: Int, down: Float, x: FloatAxis, line: FloatArray) {
        var at = 0
        for (column in x.low.indices) {
            val right = x.weight[column]
            val a = pixels[top + x.low[column]]
            val b = pixels[top + x.high[column]]
            val c = pixels[bottom + x.low[column]]
            val d = pixels[bottom + x.high[column]]
            for (shift in 16 downTo 0 step 8) {
                val above = between((a shr shift and 255).toFloat(), (b shr shift and 255).toFloat(), right)
                val below = between((c shr shift and 255).toFloat(), (d shr shift and 255).toFloat(), right)
                line[at++] = between(above, below, down)
            }
        }
    }

    private fun between(low: Float, high: Float, weight: Float) = low + (high - low) * weight
}
