package org.maskconver.mobile

import java.io.Closeable
import java.io.EOFException
import java.io.File
import java.io.FileInputStream
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import java.util.Random
import org.maskconver.segmenter.InputType
import org.maskconver.segmenter.MaskConverException
import org.maskconver.segmenter.ModelCard

/**
 * Input tensors from files, one of which is in memory at a time; without files the same noise every time, in the range of pictures.
 *
 * A file holds the tensor's values, little-endian, and nothing else.
 *
 * @throws MaskConverException a file cannot be opened or has another size than the model's tensor.
 */
class Inputs(paths: List<String>, private val card: ModelCard) : Closeable {
    private val bytes = card.inputSize.height * card.inputSize.width * 3 * (if (card.inputType == InputType.UINT8) 1 else 4)
    private val files = ArrayList<FileChannel>()

    /** The tensor that was read last. */
    val buffer: ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())

    val count = paths.size.coerceAtLeast(1)

    init {
        try {
            paths.forEachIndexed { index, path -> files += open(index, path) }
        } catch (error: MaskConverException) {
            close()
            throw error
        }
        if (files.isEmpty()) fillWithNoise()
    }

    private fun open(index: Int, path: String): FileChannel {
        val size = File(path).length()
        if (File(path).isFile && size != bytes.toLong()) {
            throw MaskConverException("input $index ($path) has $size bytes; this model takes $bytes")
        }
        return try {
            FileInputStream(path).channel
        } catch (error: IOException) {
            throw MaskConverException("input $index ($path) cannot be opened (${error.message}); push it again", error)
        }
    }

    /** The first tensor. */
    fun first(): ByteBuffer {
        read(0)
        return buffer
    }

    /** Reads a tensor into [buffer]. */
    fun read(index: Int) {
        val file = files.getOrNull(index) ?: return
        buffer.rewind()
        while (buffer.hasRemaining()) {
            if (file.read(buffer, buffer.position().toLong()) < 0) throw EOFException("input $index was shortened")
        }
        buffer.rewind()
    }

    private fun fillWithNoise() {
        val random = Random(0)
        while (buffer.hasRemaining()) when (card.inputType) {
            InputType.UINT8 -> buffer.put(random.nextInt(256).toByte())
            InputType.PIXELS -> buffer.putFloat(random.nextFloat() * 255)
            InputType.FLOAT32 -> buffer.putFloat(random.nextFloat() * 4 - 2)
        }
        buffer.rewind()
    }

    override fun close() = files.forEach(FileChannel::close)
}
