package org.maskconver.segmenter

import java.io.ByteArrayInputStream
import java.io.ByteArrayOutputStream
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipInputStream

/** A NumPy array in C order; [data] holds its elements, little-endian. */
class NpyArray internal constructor(val type: String, val shape: List<Int>, val data: ByteBuffer) {
    /** Elements of a float32 array. */
    fun floats(): FloatArray {
        require(type == "<f4") { "type $type instead of <f4" }
        return FloatArray(data.remaining() / 4).also { data.duplicate().order(data.order()).asFloatBuffer().get(it) }
    }
}

/** Reads NumPy's `.npz` archives. */
object Npz {
    private val HEADER = Regex("'descr': *'([^']+)', *'fortran_order': *False, *'shape': *\\(([^)]*)\\)")
    private const val MAX_BYTES = 1 shl 28

    /**
     * All arrays by name.
     *
     * @throws IOException it is no such archive.
     */
    fun read(content: ByteArray): Map<String, NpyArray> {
        val arrays = HashMap<String, NpyArray>()
        var left = MAX_BYTES
        ZipInputStream(ByteArrayInputStream(content)).use { zip ->
            while (true) {
                val entry = zip.nextEntry ?: break
                val bytes = bounded(zip, left)
                left -= bytes.size
                arrays[entry.name.removeSuffix(".npy")] = parse(bytes, entry.name)
            }
        }
        return arrays
    }

    private fun bounded(zip: ZipInputStream, most: Int): ByteArray {
        val bytes = ByteArrayOutputStream()
        val chunk = ByteArray(1 shl 16)
        while (true) {
            val count = zip.read(chunk)
            if (count < 0) return bytes.toByteArray()
            if (count > most - bytes.size()) throw IOException("arrays of over $MAX_BYTES bytes")
            bytes.write(chunk, 0, count)
        }
    }

    private fun parse(bytes: ByteArray, name: String): NpyArray {
        val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
        if (bytes.size < 12 || String(bytes, 1, 5, Charsets.ISO_8859_1) != "NUMPY") throw IOException("$name is no array")
        val wide = bytes[6] >= 2
        val start = if (wide) 12 else 10
        val length = if (wide) buffer.getInt(8) else buffer.getShort(8).toInt() and 0xFFFF
        if (length < 0 || length > bytes.size - start) throw IOException("$name is truncated")
        val (type, shape) = HEADER.find(String(bytes, start, length, Charsets.ISO_8859_1))?.destructured
            ?: throw IOException("$name has an unknown header")
        val sizes = shape.split(',').map(String::trim).filter(String::isNotEmpty).map {
            it.toIntOrNull() ?: throw IOException("$name has an unknown shape")
        }
        buffer.position(start + length)
        val size = type.takeLastWhile(Char::isDigit).toIntOrNull() ?: throw IOException("$name has an unknown type")
        if (sizes.fold(size.toLong(), Long::times) != buffer.remaining().toLong()) throw IOException("$name is truncated")
        return NpyArray(type, sizes, buffer.slice().order(ByteOrder.LITTLE_ENDIAN))
    }
}
