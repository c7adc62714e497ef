package org.maskconver.segmenter

import java.nio.ByteBuffer
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class YuvImageTest {
    private val arrays = Fixtures.arrays("yuvs")

    private fun yuv(case: Int, left: Int = 0, top: Int = 0, cut: Int = 0): YuvImage {
        val (lumaStride, chromaStride, step) = arrays.getValue("$case/strides").ints()
        fun plane(name: String, stride: Int, step: Int) = Plane(ByteBuffer.wrap(arrays.getValue("$case/$name").bytes()), stride, step)
        val (height, width) = arrays.getValue("$case/rgb").shape
        return YuvImage(
            plane("y", lumaStride, 1), plane("u", chromaStride, step), plane("v", chromaStride, step),
            left, top, height - top - cut, width - left - cut,
        )
    }

    private fun expected(case: Int) = arrays.getValue("$case/rgb").image()

    @Test
    fun oddSizesAndStridesGiveTheReferencesPixels() {
        val cases = arrays.keys.map { it.substringBefore('/').toInt() }.toSortedSet()
        assertTrue(cases.size > 4)
        for (case in cases) {
            val image = RgbImage()
            yuv(case).toRgb(0, image)
            val expected = expected(case)
            assertEquals(expected.height to expected.width, image.height to image.width)
            for (i in 0 until image.height * image.width) for (shift in listOf(16, 8, 0)) {
                val difference = (image.pixels[i] shr shift and 255) - (expected.pixels[i] shr shift and 255)
                assertTrue("case $case, pixel $i", difference in -1..1)
            }
        }
    }

    @Test
    fun turnsAreClockwise() {
        val upright = RgbImage().also { yuv(1).toRgb(0, it) }
        val (height, width) = upright.height to upright.width
        for ((degrees, place) in listOf<Pair<Int, (Int, Int) -> Int>>(
            90 to { row, column -> (height - 1 - column) * width + row },
            180 to { row, column -> (height - 1 - row) * width + width - 1 - column },
            270 to { row, column -> column * width + width - 1 - row },
        )) {
            val turned = RgbImage().also { yuv(1).toRgb(degrees, it) }
            assertEquals(if (degrees == 180) height to width else width to height, turned.height to turned.width)
            val expected = IntArray(height * width) { upright.pixels[place(it / turned.width, it % turned.width)] }
            assertArrayEquals("$degrees degrees", expected, turned.pixels)
            val again = IntArray(height * width).also { Turn(degrees, height, width).copy(upright.pixels, height, width, it) }
            assertArrayEquals("$degrees degrees", expected, again)
        }
    }

    @Test
    fun aCropKeepsItsPixels() {
        val whole = RgbImage().also { yuv(4).toRgb(0, it) }
        val part = RgbImage().also { yuv(4, left = 3, top = 5, cut = 2).toRgb(0, it) }
        for (i in 0 until part.height * part.width) {
            assertEquals(whole.pixels[(5 + i / part.width) * whole.width + 3 + i % part.width], part.pixels[i])
        }
    }

    @Test
    fun aHalvedImageHasTheMeansOfItsPixels() {
        val whole = RgbImage().also { yuv(4).toRgb(0, it) }
        val half = RgbImage().also { it.halve(whole) }
        assertEquals(whole.height / 2 to whole.width / 2, half.height to half.width)
        for (i in 0 until half.height * half.width) for (shift in listOf(16, 8, 0)) {
            val corner = 2 * (i / half.width) * whole.width + 2 * (i % half.width)
            val four = listOf(0, 1, whole.width, whole.width + 1).map { whole.pixels[corner + it] shr shift and 255 }
            assertEquals((four.sum() + 2) / 4, half.pixels[i] shr shift and 255)
        }
    }

    @Test
    fun otherAnglesAreRefused() {
        assertThrows(MaskConverException::class.java) { yuv(0).toRgb(45, RgbImage()) }
    }
}
