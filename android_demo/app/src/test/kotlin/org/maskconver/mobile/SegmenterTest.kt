package org.maskconver.mobile

import android.app.Application
import android.graphics.Color
import android.graphics.ImageFormat
import android.graphics.Rect
import android.media.Image
import android.net.Uri
import java.io.File
import java.nio.ByteBuffer
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.maskconver.segmenter.MaskConverException
import org.maskconver.segmenter.Segmenter
import org.maskconver.segmenter.YuvImage
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

/** The library's way in for Android's own pictures. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34])
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class SegmenterTest {
    private val application: Application get() = RuntimeEnvironment.getApplication()
    private val tiny = File(System.getProperty("fixtures"), "tiny_config_masks_uint8_float32.tflite")
    private val photo by lazy { Photos.read(application, Uri.parse(PhotoActivity.BUNDLED)) }

    @Before
    fun load() = Screens.loadHostLibraries()

    /** A camera's picture, as the system would hand it out. */
    private class CameraImage(private val yuv: YuvImage, private val format: Int = ImageFormat.YUV_420_888) : Image() {
        override fun getFormat() = format

        override fun getWidth() = yuv.width

        override fun getHeight() = yuv.height

        override fun getCropRect() = Rect(0, 0, yuv.width, yuv.height)

        override fun getTimestamp() = 0L

        override fun getTransform() = 0

        override fun getScalingMode() = 0

        override fun getPlanes() = arrayOf(yuv.y, yuv.u, yuv.v).map { plane ->
            object : Plane() {
                override fun getRowStride() = plane.rowStride

                override fun getPixelStride() = plane.pixelStride

                override fun getBuffer(): ByteBuffer = plane.buffer
            }
        }.toTypedArray<Plane>()

        override fun close() = Unit
    }

    @Test
    fun aCamerasPictureGivesWhatItsPlanesGive() {
        Segmenter.fromAsset(application, ModelStore.BUNDLED).use { segmenter ->
            val yuv = FakeFrames.of(photo, 90)
            val expected = segmenter.segment(yuv, 90)
            val found = segmenter.segment(CameraImage(yuv), 90)
            assertTrue(expected.segments.isNotEmpty())
            assertEquals(expected.segments, found.segments)
            assertArrayEquals(expected.panopticMap, found.panopticMap)
            assertThrows(MaskConverException::class.java) { segmenter.segment(CameraImage(yuv, ImageFormat.JPEG)) }
        }
    }

    @Test
    fun theOverlayHasTheSegmentsColors() {
        Segmenter.fromAsset(application, ModelStore.BUNDLED).use { segmenter ->
            val result = segmenter.segment(photo)
            assertTrue(result.segments.isNotEmpty())
            val overlay = result.overlay(opacity = 1f)
            assertSame(overlay, result.overlay(opacity = 1f, reuse = overlay))
            for (at in result.panopticMap.indices step 997) {
                val (row, column) = at / result.width to at % result.width
                val id = result.panopticMap[at]
                val color = overlay.getPixel(column, row)
                val own = if (id == 0) 0 else Color.BLACK or result.colors.getValue(id)
                assertTrue("pixel $row, $column", color == own || id != 0 && color == Color.WHITE)
            }
            val nothing = result.overlay(shown = { false })
            assertEquals(1, Screens.colors(nothing))
        }
    }

    @Test
    fun whatIsMissingIsOneLine() {
        val error = assertThrows(MaskConverException::class.java) { Segmenter.fromFile(File("/nowhere.tflite")) }
        assertTrue(error.message!!, error.message!!.startsWith("/nowhere.tflite: cannot be opened"))
        assertThrows(MaskConverException::class.java) { Segmenter.fromAsset(application, "nowhere.tflite") }
        val gone = Uri.parse("content://nobody/folder/gone.tflite")
        shadowOf(application.contentResolver).registerInputStreamSupplier(gone) { throw SecurityException("not yours") }
        val refused = assertThrows(MaskConverException::class.java) { Segmenter.fromUri(application, gone) }
        assertEquals("gone.tflite: may not be opened; choose the file again", refused.message)
        Segmenter.fromFile(tiny).use { segmenter ->
            assertThrows(MaskConverException::class.java) { segmenter.segment(photo, 45) }
            assertThrows(MaskConverException::class.java) { segmenter.segment(photo).mask(99) }
        }
    }
}
