package org.maskconver.segmenter

import java.nio.ByteBuffer

/**
 * What the kernels of some operators take for granted: with other numbers they divide by zero, read beyond their tensors, or
 * end the process.
 *
 * @param codes the model's operator codes.
 * @param graphs how many graphs it has.
 * @param data the bytes of a constant, none for all else.
 */
internal class OperatorRules(
    private val codes: List<Flatbuffer.Table>,
    private val graphs: Int,
    private val data: (Flatbuffer.Table) -> ByteBuffer,
) {
    private val calls = mutableMapOf<Int, MutableSet<Int>>()

    /** @throws DamagedModelException a rule is broken by an operator of graph number [graph] with these [tensors]. */
    fun check(graph: Int, tensors: List<Flatbuffer.Table>, operator: Flatbuffer.Table) {
        val code = codes[operator.int(0)].let { maxOf(it.byte(0), it.int(3)) }
        CALLS[code]?.let { checkCalls(graph, it, operator) }
        WINDOWS[code]?.let { checkWindow(it, operator) }
        val inputs = operator.ints(1).filter { it != -1 }.map { tensors[it] }
        if (code == SLICE) checkSlice(inputs)
        if (code in REDUCING) checkAxes(inputs)
        if (code in SCALED) checkScaled(code, inputs, operator.ints(2).map { tensors[it] })
        if (code in COMPARING) need(inputs.none { it.byte(1) in BYTES }, "a comparison of scaled integers")
    }

    /** Kernels multiply scaled integers by a ratio of scales, which where they add must be below 1. */
    private fun checkScaled(code: Int, inputs: List<Flatbuffer.Table>, outputs: List<Flatbuffer.Table>) {
        val type = inputs.firstOrNull()?.byte(1)
        val headroom = HEADROOM[type] ?: return
        need(outputs.singleOrNull()?.byte(1) == type, "an operator that makes other numbers of scaled integers")
        if (code !in ADDING) return
        val twice = 2.0 * inputs.maxOf(::scaleOf)
        val sum = if (code == SQUARED_DIFFERENCE) twice * twice / SQUARES_HEADROOM else twice / headroom
        need(inputs.all { scaleOf(it) > 0 } && sum < scaleOf(outputs[0]), "scales of a sum")
    }

    private fun scaleOf(tensor: Flatbuffer.Table): Float = tensor.table(4)?.ints(2)?.singleOrNull()?.let(Float::fromBits) ?: 0f

    /** No graph calls the main one, and no call goes round in circles. */
    private fun checkCalls(graph: Int, count: Int, operator: Flatbuffer.Table) {
        val options = operator.table(4)
        for (slot in 0 until count) {
            val called = options?.int(slot) ?: 0
            need(called in 1 until graphs && graph !in calledBy(called), "graph $graph calls graph $called")
            calls.getOrPut(graph) { mutableSetOf() }.add(called)
        }
    }

    /** A graph and all that it calls, as far as is known yet. */
    private fun calledBy(graph: Int): Set<Int> {
        val found = mutableSetOf(graph)
        val open = ArrayDeque(found)
        while (open.isNotEmpty()) calls[open.removeFirst()].orEmpty().filterTo(open) { found.add(it) }
        return found
    }

    private fun checkWindow(window: Window, operator: Flatbuffer.Table) {
        val options = operator.table(4)
        need(operator.byte(3) == window.options && options != null, "an operator with the options of another")
        need(options!!.byte(0) in 0..1, "a window with padding ${options.byte(0)}")
        val steps = window.steps.map { options.int(it) } + window.gaps.map { options.int(it, default = 1) }
        need(steps.all { it in 1..MAX_STEP }, "a window of $steps pixels")
    }

    private fun checkSlice(inputs: List<Flatbuffer.Table>) {
        need(inputs.size == 3, "a slice of ${inputs.size} tensors")
        val (begins, sizes) = inputs.drop(1).map { numbers(it) }
        val shape = inputs[0].ints(0)
        if (begins.isEmpty() || sizes.isEmpty() || shape.isEmpty()) return
        val fits = begins.size == shape.size && sizes.size == shape.size && shape.indices.all {
            begins[it] in 0..shape[it] && (sizes[it] == -1L || sizes[it] in 0..shape[it] - begins[it])
        }
        need(fits, "a slice of $sizes from $begins of ${shape.toList()}")
    }

    private fun checkAxes(inputs: List<Flatbuffer.Table>) {
        need(inputs.size == 2, "a reduction of ${inputs.size} tensors")
        val rank = inputs[0].ints(0).size
        val axes = numbers(inputs[1])
        need(axes.all { it in -rank until rank }, "a reduction over the axes $axes of $rank")
    }

    private fun numbers(tensor: Flatbuffer.Table): List<Long> {
        val bytes = data(tensor)
        if (tensor.byte(1) == INT64) return List(bytes.limit() / 8) { bytes.getLong(8 * it) }
        return List(bytes.limit() / 4) { bytes.getInt(4 * it).toLong() }
    }

    /** A convolution or pool: its type of options, and the fields there of strides and sizes, and of dilations. */
    private class Window(val options: Int, val steps: List<Int>, val gaps: List<Int>)

    private companion object {
        const val MAX_STEP = 1 shl 10
        const val SLICE = 65
        const val INT64 = 4
        const val SQUARED_DIFFERENCE = 99

        /** ADD, SUB and SQUARED_DIFFERENCE. */
        val ADDING = setOf(0, 41, SQUARED_DIFFERENCE)

        /** Those and FULLY_CONNECTED, MUL, MEAN, PRELU, SUM and LEAKY_RELU. */
        val SCALED = ADDING + setOf(9, 18, 40, 54, 74, 98)

        /** What kernels multiply integers of 8 and 16 bits by before they add. */
        val HEADROOM = mapOf(3 to (1 shl 20), 9 to (1 shl 20), 7 to (1 shl 15))
        const val SQUARES_HEADROOM = 1 shl 14

        /** MEAN, SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_ANY and REDUCE_ALL. */
        val REDUCING = setOf(40, 74, 81, 82, 89, 91, 140)

        /** LESS, GREATER, GREATER_EQUAL, LESS_EQUAL, EQUAL and NOT_EQUAL; and integers of 8 bits. */
        val COMPARING = setOf(58, 61, 62, 63, 71, 72)
        val BYTES = setOf(3, 9)

        /** How many graphs the operators IF, WHILE and CALL_ONCE call. */
        val CALLS = mapOf(118 to 2, 119 to 2, 129 to 1)

        /** AVERAGE_POOL_2D, CONV_2D, DEPTHWISE_CONV_2D and MAX_POOL_2D. */
        val WINDOWS = mapOf(
            1 to Window(5, listOf(1, 2, 3, 4), emptyList()),
            3 to Window(1, listOf(1, 2), listOf(4, 5)),
            4 to Window(2, listOf(1, 2), listOf(5, 6)),
            17 to Window(5, listOf(1, 2, 3, 4), emptyList()),
        )
    }
}
