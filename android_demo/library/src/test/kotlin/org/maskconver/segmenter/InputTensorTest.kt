package org.maskconver.segmenter

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class InputTensorTest {
    private val arrays = Fixtures.arrays("letterbox")
    private val cases = arrays.keys.map { it.substringBefore('/').toInt() }.toSortedSet()

    private fun sizes(case: Int) = arrays.getValue("$case/sizes").ints().toList().chunked(2) { Size(it[0], it[1]) }

    @Test
    fun letterboxIsPythons() {
        assertTrue(cases.size >= 20)
        for (case in cases) {
            val (image, canvas, scaled, extent) = sizes(case)
            val letterbox = Letterbox.fit(image, canvas)
            assertEquals(Letterbox(image, canvas, scaled), letterbox)
            assertEquals(extent, letterbox.extent)
        }
    }

    @Test
    fun tensorsArePythonsInEveryBit() {
        for (case in cases) for (type in InputType.values()) {
            val tensor = InputTensor(Fixtures.card(sizes(case)[1], type))
            tensor.lay(arrays.getValue("$case/image").image())
            val expected = arrays.getValue("$case/${type.name.lowercase()}")
            assertArrayEquals("case $case, $type, ${sizes(case)}", expected.bytes(), tensor.buffer.allBytes())
        }
    }

    @Test
    fun aTensorIsUsedAgainForImagesOfOtherShapes() {
        val square = cases.filter { sizes(it)[1] == Size(256, 256) }
        assertTrue(square.size > 2)
        val tensor = InputTensor(Fixtures.card(Size(256, 256), InputType.UINT8))
        for (case in square + square.reversed()) {
            tensor.lay(arrays.getValue("$case/image").image())
            assertArrayEquals(arrays.getValue("$case/uint8").bytes(), tensor.buffer.allBytes())
        }
    }
}
