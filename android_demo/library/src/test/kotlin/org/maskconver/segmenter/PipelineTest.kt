package org.maskconver.segmenter

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertTrue
import org.junit.BeforeClass
import org.junit.Test

/** The whole path through the AAR's own native library, beside Python's. */
class PipelineTest {
    private val images = Fixtures.arrays("images")

    /** Integer kernels differ between versions of the runtime. */
    private val exact = Fixtures.models.filter { Fixtures.model(it).card.recipe in setOf("float32", "float16") }

    private fun image(model: String) = images.getValue(model.substringBefore('_')).image()

    @Test
    fun outputsAreThoseOfThePythonRuntime() {
        for (name in exact) {
            val answer = Fixtures.arrays(name)
            val model = Fixtures.model(name)
            Graph(model, Options(threads = 2)).use { graph ->
                val tensor = InputTensor(model.card).also { it.lay(image(name)) }.buffer
                assertArrayEquals("$name: its input", answer.getValue("input").bytes(), tensor.allBytes())
                graph.run(tensor)
                for ((output, buffer) in graph.outputs) {
                    compare("$name: $output", output, answer.getValue("output/$output"), buffer.allBytes())
                }
            }
        }
    }

    private fun compare(what: String, output: String, expected: NpyArray, found: ByteArray) {
        if (output == "classes") return assertArrayEquals(what, expected.bytes(), found)
        if (expected.type == "<i4") {
            val same = expected.ints().zip(NpyArray("<i4", expected.shape, wrap(found)).ints()).count { (a, b) -> a == b }
            return assertTrue(what, same >= 0.9999 * expected.ints().size)
        }
        val values = NpyArray("<f4", expected.shape, wrap(found)).floats()
        val largest = expected.floats().maxOf(::abs)
        val bound = if (output == "scores") 1e-5f else 1e-4f * largest
        val difference = expected.floats().zip(values.asIterable()).maxOf { (a, b) -> abs(a - b) }
        assertTrue("$what differs by $difference, bound $bound", difference <= bound)
    }

    private fun wrap(bytes: ByteArray) = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)

    @Test
    fun segmentsAreThoseOfPython() {
        for (name in exact) {
            val answer = Fixtures.arrays(name)
            Pipeline(Fixtures.model(name), Options(threads = 2)).use { pipeline ->
                val result = pipeline.segment(image(name), 0.0, null)
                val expected = answer.getValue("map").ints()
                val same = expected.indices.count { expected[it] == result.panopticMap[it] }
                assertTrue("$name: $same of ${expected.size} pixels", same >= 0.9999 * expected.size)
                val segments = result.segments.map { listOf(it.id, it.categoryId, if (it.isThing) 1 else 0) }
                assertEquals(name, answer.getValue("segments").ints().toList().chunked(8) { it.take(3) }, segments)
                val scores = result.segments.map { it.score }.zip(answer.getValue("segment_scores").floats().asIterable())
                assertTrue("$name: scores", scores.all { (a, b) -> abs(a - b) <= 1e-5f })
            }
        }
    }

    @Test
    fun cardsAreThoseOfPython() {
        for (name in Fixtures.models) {
            val card = Fixtures.model(name).card
            val sizes = listOf(card.inputSize, card.outputSize).flatMap { listOf(it.height, it.width) }
            assertEquals(name, Fixtures.arrays(name).getValue("card").ints().toList(), sizes + card.numInstances + card.numClasses)
        }
    }

    @Test
    fun semanticModelsHaveNoThingsAndClass0() {
        for (level in listOf("masks", "panoptic")) {
            val model = Fixtures.model("tiny_config_tall_${level}_pixels_float32")
            assertTrue(model.card.inputSize.height > model.card.inputSize.width)
            Pipeline(model, Options()).use { pipeline ->
                val result = pipeline.segment(image("tiny"), 0.0, null)
                assertTrue(result.segments.size > 2 && result.segments.none { it.isThing })
                assertEquals(listOf("class 0" to 0f), result.segments.filter { it.categoryId == 0 }.map { it.label to it.score })
                assertEquals(0, result.panopticMap.count { it == 0 })
            }
        }
    }

    @Test
    fun quantizedModelsRun() {
        val quantized = Fixtures.models - exact.toSet()
        assertEquals(2, quantized.size)
        for (name in quantized) Pipeline(Fixtures.model(name), Options(threads = 2)).use { pipeline ->
            val result = pipeline.segment(image(name), 0.0, null)
            val expected = Fixtures.arrays(name).getValue("map").ints()
            val same = expected.indices.count { (expected[it] == 0) == (result.panopticMap[it] == 0) }
            assertTrue("$name: $same of ${expected.size} pixels", result.segments.isNotEmpty() && same > 0.9 * expected.size)
        }
    }

    @Test
    fun theBundledModelSeesSomething() {
        Pipeline(Fixtures.model("bundled"), Options(threads = 2)).use { pipeline ->
            val result = pipeline.segment(image("bundled"), 1.5, null)
            assertTrue(result.segments.isNotEmpty())
            for (segment in result.segments) {
                val mask = result.mask(segment.id)
                assertEquals(segment.area, mask.count { it })
                assertEquals(segment.box, boxOf(mask, result.width))
            }
            assertEquals(1.5, result.timings.decode, 0.0)
            assertTrue(result.timings.invoke > 0)
            val again = pipeline.segment(image("bundled"), 0.0, result)
            assertSame(result.panopticMap, again.panopticMap)
            assertEquals(result.segments, again.segments)
        }
    }

    private fun boxOf(mask: BooleanArray, width: Int): Box {
        val places = mask.indices.filter { mask[it] }
        val (left, right) = places.minOf { it % width } to places.maxOf { it % width }
        val (top, bottom) = places.first() / width to places.last() / width
        return Box(left, top, right - left + 1, bottom - top + 1)
    }

    @Test
    fun segmentColorsArePythons() {
        val answer = Fixtures.arrays("bundled").getValue("overlay_colors")
        Pipeline(Fixtures.model("bundled"), Options(threads = 2)).use { pipeline ->
            val result = pipeline.segment(image("bundled"), 0.0, null)
            val drawn = answer.image().pixels.toSet()
            assertTrue(result.segments.all { it.area < 2000 || result.colors.getValue(it.id) in drawn })
        }
    }

    @Test
    fun xnnpackDoesTheWork() {
        assertEquals(0, leftByXnnpack("tiny_config_heads_float32_float32"))
        // Some on proposals, such as their normalization; the runtime of the Python package takes them as well.
        assertTrue(leftByXnnpack("bundled") <= 6)
    }

    /** How many operators in float32 XNNPACK leaves, besides those that pick proposals. It takes none of whole numbers. */
    private fun leftByXnnpack(name: String): Int {
        val log = File(System.getenv("NATIVE_LOG")).also(File::delete)
        Graph(Fixtures.model(name), Options()).close()
        val (taken, all) = Regex("""Replacing (\d+) out of (\d+) node""").find(log.readText())!!.destructured
        val operators = operatorsOf(Fixtures.model(name).content)
        assertEquals(operators.size, all.toInt())
        return operators.count { (code, types) -> code !in PICKING && types.all { it == ModelShape.FLOAT32 } } - taken.toInt()
    }

    /** Every operator's code, and the types of its outputs. */
    private fun operatorsOf(content: ByteBuffer): List<Pair<Int, List<Int>>> {
        val model = Flatbuffer(content.duplicate().order(ByteOrder.LITTLE_ENDIAN)).root()
        val codes = model.tables(1).map { maxOf(it.byte(0), it.int(3)) }
        val graph = model.tables(2).single()
        val types = graph.tables(0).map { it.byte(1) }
        return graph.tables(3).map { operator -> codes[operator.int(0)] to operator.ints(2).map(types::get) }
    }

    @Test
    fun withoutAGpuTheCpuDoesTheWork() {
        Graph(Fixtures.model("bundled"), Options(accelerator = Accelerator.GPU)).use { graph ->
            assertEquals(Accelerator.CPU, graph.accelerator)
            assertTrue(graph.fallbackReason.isNotEmpty() && '\n' !in graph.fallbackReason)
        }
    }

    companion object {
        /** GATHER, TOPK_V2, CAST and GATHER_ND. */
        private val PICKING = setOf(36, 48, 53, 107)

        @JvmStatic
        @BeforeClass
        fun loadLibraries() = Fixtures.loadHostLibraries()
    }
}
