package org.maskconver.mobile

import android.app.Application
import android.graphics.BitmapFactory
import android.net.Uri
import java.io.FileNotFoundException
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.maskconver.segmenter.Box
import org.maskconver.segmenter.Segment
import org.maskconver.segmenter.Segmenter
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

/** What is saved and shared of a photo. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34])
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class ExportsTest {
    private val application: Application get() = RuntimeEnvironment.getApplication()

    @Before
    fun load() = Screens.loadHostLibraries()

    @Test
    fun cocoFilesSayWhatTheResultSays() {
        val photo = Photos.read(application, Uri.parse(PhotoActivity.BUNDLED))
        Segmenter.fromAsset(application, ModelStore.BUNDLED).use { segmenter ->
            val result = segmenter.segment(photo)
            val exports = Exports(photo, result, Settings(application))
            val files = exports.coco()
            val coco = JSONObject(String(files.getValue("panoptic.json")))
            val infos = coco.getJSONArray("annotations").getJSONObject(0).getJSONArray("segments_info")
            val written = List(infos.length(), infos::getJSONObject)
            assertEquals(result.segments.map { it.id to it.area }, written.map { it.getInt("id") to it.getInt("area") })
            val png = files.getValue("panoptic.png").let { BitmapFactory.decodeByteArray(it, 0, it.size) }
            val pixels = IntArray(png.width * png.height).also { png.getPixels(it, 0, png.width, 0, 0, png.width, png.height) }
            val ids = pixels.map { (it shr 16 and 255) or (it and 0xFF00) or (it and 255 shl 16) }.toIntArray()
            assertArrayEquals(result.panopticMap, ids)
            assertNotNull(exports.picture().let { BitmapFactory.decodeByteArray(it, 0, it.size) })

            val turned = android.graphics.Matrix().apply { postRotate(-90f) }
            val aside = android.graphics.Bitmap.createBitmap(photo, 0, 0, photo.width, photo.height, turned, false)
            assertEquals(result.segments, segmenter.segment(aside, 90).segments)
        }
    }

    @Test
    fun onlyWhatIsSharedCanBeRead() {
        val provider = Robolectric.setupContentProvider(ShareProvider::class.java, "org.maskconver.mobile.shared")
        val (uri) = Exports.share(application, mapOf("segments.png" to byteArrayOf(1, 2, 3)))
        provider.openFile(uri, "r").use { assertEquals(3, it.statSize) }
        assertEquals("image/png", provider.getType(uri))
        for (name in listOf("../settings.xml", "other.png", "a/b")) {
            assertThrows(FileNotFoundException::class.java) { provider.openFile(ShareProvider.uri(name), "r") }
        }
        assertThrows(FileNotFoundException::class.java) { provider.openFile(uri, "w") }
        Exports.share(application, emptyMap())
        assertThrows(FileNotFoundException::class.java) { provider.openFile(uri, "r") }
    }

    @Test
    fun announcementsAreFewAndNew() {
        var now = 0L
        val announcer = Announcer { now }
        fun segment(label: String, area: Int) = Segment(1, 1, label, true, 0.9f, area, Box(0, 0, 1, 1))
        assertEquals("2 × dog, cat", announcer.words(listOf(segment("cat", 1), segment("dog", 9), segment("dog", 8))))
        now += 1000
        assertEquals(null, announcer.words(listOf(segment("bird", 1))))
        now += 4000
        assertEquals("bird", announcer.words(listOf(segment("bird", 1))))
        now += 9000
        assertEquals(null, announcer.words(listOf(segment("bird", 2))))
        assertEquals(null, announcer.words(emptyList()))
    }

    @Test
    fun framesAreUprightInAllRotations() {
        // A back camera on a phone is usually mounted at 90 degrees, a front camera at 270.
        assertEquals(listOf(90, 0, 270, 180), listOf(0, 90, 180, 270).map { CameraSource.uprightDegrees(90, it, front = false) })
        assertEquals(listOf(270, 0, 90, 180), listOf(0, 90, 180, 270).map { CameraSource.uprightDegrees(270, it, front = true) })
        val sizes = listOf(1920 to 1080, 1280 to 960, 1280 to 720, 640 to 480).map { (width, height) -> android.util.Size(width, height) }
        assertEquals(android.util.Size(1280, 960), CameraSource.chooseSize(sizes))
        assertEquals(android.util.Size(1920, 1080), CameraSource.chooseSize(sizes.take(1)))
        assertTrue(CameraSource.chooseSize(emptyList()) == null)
    }

    @Test
    fun largeFramesAreShownWholeAndSegmentedAtHalfTheirSize() {
        val photo = Photos.read(application, Uri.parse(PhotoActivity.BUNDLED))
        fun frame(width: Int, height: Int) = Frame().apply {
            read(FakeFrames.of(android.graphics.Bitmap.createScaledBitmap(photo, width, height, true), 90), 90)
        }
        val large = frame(960, 1280)
        assertEquals(listOf(960, 1280, 480, 640), listOf(large.picture, large.image).flatMap { listOf(it.width, it.height) })
        val small = frame(480, 640)
        assertSame(small.picture, small.image)
    }

    @Test
    fun theNewestFrameWins() {
        val frames = NewestFrame()
        assertEquals(null, frames.take())
        for (i in 1..3) frames.put { it.decodeMs = i.toDouble() }
        assertEquals(3.0, frames.take()!!.decodeMs, 0.0)
        assertEquals(null, frames.take())
        frames.put { it.decodeMs = 4.0 }
        assertEquals(4.0, frames.take()!!.decodeMs, 0.0)
    }
}
