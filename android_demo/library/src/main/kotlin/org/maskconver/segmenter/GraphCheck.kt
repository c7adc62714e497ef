package org.maskconver.segmenter

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Why a flatbuffer is no sound model, in a few words. */
internal class DamagedModelException(message: String, cause: Throwable? = null) : Exception(message, cause)

internal fun need(condition: Boolean, otherwise: String) {
    if (!condition) throw DamagedModelException(otherwise)
}

/**
 * The structure of a TFLite flatbuffer, checked so far that an interpreter cannot be led astray by it.
 *
 * Field numbers are those of the published schema (`schema.fbs`, version 3).
 */
internal class GraphCheck(private val content: ByteBuffer) {
    private val model: Flatbuffer.Table = guarded { Flatbuffer(content).root() }
    private val buffers: List<Flatbuffer.Table> by lazy { model.tables(4) }
    private val graphs: List<Flatbuffer.Table> by lazy { model.tables(2) }
    private val main: Flatbuffer.Table by lazy { graphs.first() }
    private val codes: List<Flatbuffer.Table> by lazy { model.tables(1) }
    private val rules: OperatorRules by lazy { OperatorRules(codes, graphs.size) { content.slice(dataOf(it.int(2))) } }

    /** @throws DamagedModelException something points where it should not. */
    fun check() = guarded {
        need(model.int(0) == 3, "schema ${model.int(0)}")
        need(codes.all { !it.has(1) }, "an operator that is not built in")
        need(buffers.isNotEmpty() && dataOf(0).count == 0, "no empty first buffer")
        need(graphs.size in 1..MAX_GRAPHS, "${graphs.size} graphs")
        graphs.forEachIndexed(::checkGraph)
        for (entry in model.tables(6)) need(entry.int(1) in buffers.indices, "metadata buffer ${entry.int(1)}")
    }

    private fun checkGraph(number: Int, graph: Flatbuffer.Table) {
        val tensors = graph.tables(0)
        tensors.forEachIndexed(::checkTensor)
        fun tensorsOf(indices: IntArray, optional: Boolean = false) = indices.also {
            need(it.all { i -> i in tensors.indices || optional && i == -1 }, "a tensor that does not exist")
        }
        fun isConstant(tensor: Int) = dataOf(tensors[tensor].int(2)).count > 0
        val known = BooleanArray(tensors.size) { isConstant(it) || tensors[it].byte(5) != 0 }
        tensorsOf(graph.ints(1)).forEach { known[it] = true }
        for (operator in graph.tables(3)) {
            need(operator.int(0) in codes.indices, "operator code ${operator.int(0)}")
            rules.check(number, tensors, operator)
            for (i in tensorsOf(operator.ints(1), optional = true)) need(i < 0 || known[i], "tensor $i is read before it is written")
            tensorsOf(operator.ints(8))
            for (i in tensorsOf(operator.ints(2))) {
                need(!isConstant(i), "tensor $i is a constant that is written")
                known[i] = true
            }
        }
        for (i in tensorsOf(graph.ints(2))) need(known[i], "output $i is never written")
    }

    /** A named metadata buffer, or null. */
    fun metadata(name: String): ByteArray? = guarded {
        val entry = model.tables(6).firstOrNull { it.text(0) == name } ?: return@guarded null
        val data = dataOf(entry.int(1))
        ByteArray(data.count) { content.get(data.start + it) }
    }

    /** Where the names of metadata entries called [name] begin. */
    fun metadataNames(name: String): List<Int> = guarded {
        model.tables(6).filter { it.text(0) == name }.map { it.bytes(0).start }
    }

    /** Inputs and outputs of the signature by name. */
    fun signature(): Pair<Map<String, Edge>, Map<String, Edge>> = guarded {
        val all = model.tables(7)
        need(all.size == 1 && all[0].int(4) == 0, "${all.size} signatures")
        named(all[0].tables(0), main.ints(1)) to named(all[0].tables(1), main.ints(2))
    }

    private fun named(entries: List<Flatbuffer.Table>, edge: IntArray): Map<String, Edge> = entries.associate { entry ->
        val position = edge.indexOf(entry.int(1))
        need(position >= 0, "a signature beside the graph")
        val tensor = main.tables(0)[entry.int(1)]
        entry.text(0) to Edge(position, tensor.byte(1), tensor.ints(0).toList())
    }

    private fun checkTensor(index: Int, tensor: Flatbuffer.Table) {
        val shape = tensor.ints(0)
        need(shape.all { it >= 0 } && shape.size <= MAX_RANK, "shape of tensor $index")
        need(!tensor.has(6) && !tensor.has(9), "tensor $index is sparse or a variant")
        val bits = BITS[tensor.byte(1)] ?: throw DamagedModelException("type of tensor $index")
        var size = bits.toLong()
        for (length in shape) {
            size *= length
            need(size <= MAX_TENSOR_BITS, "tensor $index is too large")
        }
        need(tensor.int(2) in buffers.indices, "buffer of tensor $index")
        val data = dataOf(tensor.int(2)).count
        need(data == 0 || data.toLong() == (size + 7) / 8, "tensor $index has $data bytes of data")
        checkScales(index, shape, tensor)
    }

    private fun checkScales(index: Int, shape: IntArray, tensor: Flatbuffer.Table) {
        val type = tensor.byte(1)
        val quantization = tensor.table(4)
        val scales = quantization?.ints(2)?.map(Float::fromBits) ?: emptyList()
        val zeros = quantization?.longs(3) ?: LongArray(0)
        val axis = quantization?.int(6) ?: 0
        need(scales.isNotEmpty() || type != INT8, "tensor $index has no scale")
        need(scales.size <= 1 || axis in shape.indices && shape[axis] == scales.size, "scales of tensor $index")
        need(scales.all { it in LEAST_SCALE..1 / LEAST_SCALE }, "a scale of tensor $index")
        val possible = if (scales.size > 1) 0L..0L else ZEROS[type] ?: 0L..0L
        need(zeros.size == scales.size && zeros.all { it in possible }, "zero points of tensor $index")
    }

    private fun ByteBuffer.slice(data: Flatbuffer.Vector): ByteBuffer =
        duplicate().apply { limit(data.start + data.count).position(data.start) }.slice().order(ByteOrder.LITTLE_ENDIAN)

    private fun dataOf(buffer: Int): Flatbuffer.Vector {
        need(buffer in buffers.indices, "buffer $buffer")
        need(buffers[buffer].long(1) <= 1 && buffers[buffer].long(2) <= 1, "buffer $buffer lies outside the flatbuffer")
        return buffers[buffer].bytes(0)
    }

    private fun <T> guarded(work: () -> T): T = try {
        work()
    } catch (error: IndexOutOfBoundsException) {
        throw DamagedModelException("truncated or overwritten", error)
    } catch (error: ArithmeticException) {
        throw DamagedModelException("truncated or overwritten", error)
    } catch (error: OutOfMemoryError) {
        throw DamagedModelException("truncated or overwritten", error)
    }

    private companion object {
        const val MAX_RANK = 8
        const val MAX_GRAPHS = 64
        const val MAX_TENSOR_BITS = 1L shl 33

        const val INT8 = 9
        const val LEAST_SCALE = 1e-30f

        /** Zero points by the schema's number of the type; 0 for all others. */
        val ZEROS = mapOf(3 to 0L..255L, INT8 to -128L..127L)

        /** Bits of an element by the schema's number of its type: float, int, bool; no text, no resources. */
        val BITS = mapOf(
            0 to 32, 1 to 16, 2 to 32, 3 to 8, 4 to 64, 6 to 8, 7 to 16, INT8 to 8, 10 to 64, 12 to 64, 15 to 32, 16 to 16, 17 to 4,
        )
    }
}
