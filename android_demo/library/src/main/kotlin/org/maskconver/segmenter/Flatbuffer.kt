package org.maskconver.segmenter

import java.nio.ByteBuffer

/**
 * Tables and vectors of a flatbuffer, read with bounds.
 *
 * Reading outside the buffer throws [IndexOutOfBoundsException], as [ByteBuffer] does.
 */
internal class Flatbuffer(private val bytes: ByteBuffer) {
    private var left = MAX_ITEMS

    fun root() = Table(follow(0))

    private fun follow(at: Int): Int = Math.addExact(at, bytes.getInt(at)).also(::inside)

    private fun inside(at: Int) {
        if (at < 0 || at >= bytes.limit()) throw IndexOutOfBoundsException("offset $at")
    }

    inner class Table(private val at: Int) {
        private val fields: Int = Math.subtractExact(at, bytes.getInt(at)).also(::inside)
        private val size: Int = bytes.getShort(fields).toInt() and 0xFFFF

        /** Place of a field, or 0 where it has its default. */
        private fun place(slot: Int): Int {
            val entry = 4 + 2 * slot
            val offset = if (entry + 2 <= size) bytes.getShort(fields + entry).toInt() and 0xFFFF else 0
            return if (offset == 0) 0 else at + offset
        }

        fun has(slot: Int): Boolean = place(slot) != 0

        fun byte(slot: Int, default: Int = 0): Int = place(slot).let { if (it == 0) default else bytes.get(it).toInt() }

        fun int(slot: Int, default: Int = 0): Int = place(slot).let { if (it == 0) default else bytes.getInt(it) }

        fun long(slot: Int): Long = place(slot).let { if (it == 0) 0L else bytes.getLong(it) }

        fun table(slot: Int): Table? = place(slot).let { if (it == 0) null else Table(follow(it)) }

        fun tables(slot: Int): List<Table> = vector(slot, 4).let { v -> List(v.count) { Table(follow(v.start + 4 * it)) } }

        fun ints(slot: Int): IntArray = vector(slot, 4).let { v -> IntArray(v.count) { bytes.getInt(v.start + 4 * it) } }

        fun longs(slot: Int): LongArray = vector(slot, 8).let { v -> LongArray(v.count) { bytes.getLong(v.start + 8 * it) } }

        fun bytes(slot: Int): Vector = vector(slot, 1)

        fun text(slot: Int): String = vector(slot, 1).let { v ->
            String(ByteArray(v.count) { bytes.get(v.start + it) }, Charsets.UTF_8)
        }

        private fun vector(slot: Int, itemSize: Int): Vector {
            val place = place(slot)
            if (place == 0) return Vector(0, 0)
            val start = follow(place)
            val count = bytes.getInt(start)
            if (itemSize > 1) left -= count
            val isInside = count >= 0 && left >= 0 && start + 4L + count.toLong() * itemSize <= bytes.limit()
            if (!isInside) throw IndexOutOfBoundsException("$count items")
            return Vector(start + 4, count)
        }
    }

    /** [count] items from the place [start] on. */
    data class Vector(val start: Int, val count: Int)

    private companion object {
        /** Of all vectors together: offsets may lead to the same vector again and again. */
        const val MAX_ITEMS = 1 shl 22
    }
}
