package org.maskconver.mobile

import android.Manifest
import android.app.Application
import android.content.Intent
import android.graphics.Bitmap
import android.net.Uri
import android.view.View
import android.widget.Button
import android.widget.RadioGroup
import android.widget.SeekBar
import android.widget.TextView
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.maskconver.segmenter.Accelerator
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

/** Every screen, drawn by Android's own graphics. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], qualifiers = "w360dp-h640dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class ScreensTest {
    private val application: Application get() = RuntimeEnvironment.getApplication()
    private val others = listOf(
        SettingsActivity::class.java, ModelActivity::class.java, AboutActivity::class.java, BenchmarkActivity::class.java,
    )
    private val photo: Bitmap by lazy { Photos.read(application, Uri.parse(PhotoActivity.BUNDLED)) }

    @Before
    fun load() = Screens.loadHostLibraries()

    @After
    fun realCamera() {
        MainActivity.cameras = ::CameraSource
    }

    private fun live(degrees: Int, front: Boolean = false): MainActivity {
        shadowOf(application).grantPermissions(Manifest.permission.CAMERA)
        MainActivity.cameras = { _, _, _ -> FakeCamera(degrees, front) }
        Settings(application).frontCamera = front
        val activity = Robolectric.buildActivity(MainActivity::class.java).setup().get()
        Screens.settle()
        return activity
    }

    private fun text(activity: android.app.Activity, id: Int) = activity.findViewById<TextView>(id).text.toString()

    @Test
    fun liveViewShowsSegmentsOverTheCamerasPicture() {
        val activity = live(degrees = 90)
        assertEquals(View.GONE, activity.findViewById<View>(R.id.explanation).visibility)
        activity.onFrame(FakeFrames.of(photo, 90))
        Screens.settle()
        val stats = text(activity, R.id.stats)
        assertTrue(stats, Regex("per second.*read.*prepare.*network.*merge", RegexOption.DOT_MATCHES_ALL).containsMatchIn(stats))
        assertEquals(View.VISIBLE, activity.findViewById<View>(R.id.banner).visibility)
        assertTrue(Screens.colors(Screens.save(activity, "live")) > 5000)
        assertTrue(activity.findViewById<View>(R.id.frame).contentDescription.isNotEmpty())
    }

    @Test
    @Config(qualifiers = "w640dp-h360dp-land-xhdpi")
    fun liveViewOnItsSide() {
        val activity = live(degrees = 90)
        activity.onFrame(FakeFrames.of(photo, 0)) // The screen is turned as far as the sensor.
        Screens.settle()
        assertTrue(Screens.colors(Screens.save(activity, "live_landscape")) > 5000)
    }

    @Test
    fun frontCameraIsMirrored() {
        val activity = live(degrees = 270, front = true)
        activity.onFrame(FakeFrames.of(photo, 270))
        Screens.settle()
        val front = Screens.save(activity, "live_front")
        val view = activity.findViewById<FrameView>(R.id.frame)
        assertTrue(view.mirrored)
        view.mirrored = false
        view.clearResult()
        val straight = Screens.save(activity, "live_front_straight")
        val row = 500
        val difference = (0 until front.width).count { front.getPixel(it, row) != straight.getPixel(it, row) }
        assertTrue("$difference", difference > front.width / 2)
    }

    @Test
    fun withoutPermissionItExplainsAndOffersPhotos() {
        shadowOf(application).denyPermissions(Manifest.permission.CAMERA)
        val activity = Robolectric.buildActivity(MainActivity::class.java).setup().get()
        assertEquals(View.VISIBLE, activity.findViewById<View>(R.id.explanation).visibility)
        assertEquals(View.VISIBLE, activity.findViewById<View>(R.id.allow).visibility)
        Screens.save(activity, "permission")
        activity.findViewById<Button>(R.id.photo_instead).performClick()
        assertEquals(PhotoActivity::class.java.name, shadowOf(activity).nextStartedActivity.component?.className)
    }

    @Test
    fun withoutACameraItOffersPhotos() {
        shadowOf(application).grantPermissions(Manifest.permission.CAMERA)
        val activity = Robolectric.buildActivity(MainActivity::class.java).setup().get()
        assertEquals(application.getString(R.string.no_camera), text(activity, R.id.reason))
        assertEquals(View.GONE, activity.findViewById<View>(R.id.allow).visibility)
    }

    @Test
    fun aPhotoIsSegmented() {
        val activity = photoActivity()
        assertTrue(text(activity, R.id.stats), text(activity, R.id.stats).startsWith("${photo.width} × ${photo.height}, "))
        assertTrue(activity.findViewById<View>(R.id.share_coco).isEnabled)
        assertTrue(Screens.colors(Screens.save(activity, "photo")) > 5000)
    }

    private fun photoActivity(): PhotoActivity {
        val intent = Intent(application, PhotoActivity::class.java).setData(Uri.parse(PhotoActivity.BUNDLED))
        val activity = Robolectric.buildActivity(PhotoActivity::class.java, intent).setup().get()
        Screens.settle()
        return activity
    }

    @Test
    fun aFileThatIsNoPhotoIsOneLine() {
        val uri = Uri.parse("content://elsewhere/broken.jpg")
        shadowOf(application.contentResolver).registerInputStreamSupplier(uri) { "no picture".byteInputStream() }
        val intent = Intent(Intent.ACTION_SEND).putExtra(Intent.EXTRA_STREAM, uri)
        val activity = Robolectric.buildActivity(PhotoActivity::class.java, intent).setup().get()
        Screens.settle()
        assertEquals("The photo cannot be read: it is no picture. Choose another one.", text(activity, R.id.stats))
        assertFalse(activity.findViewById<View>(R.id.save_picture).isEnabled)
    }

    @Test
    fun theCardIsShown() {
        val activity = Robolectric.buildActivity(ModelActivity::class.java).setup().get()
        Screens.settle()
        val model = ModelStore(application).load()
        assertTrue(text(activity, R.id.card).contains(model.sha256))
        assertTrue(text(activity, R.id.labels).contains(model.card.categories.first().name))
        Screens.save(activity, "model")
    }

    @Test
    fun settingsAreKept() {
        val activity = Robolectric.buildActivity(SettingsActivity::class.java).setup().get()
        Screens.save(activity, "settings")
        activity.findViewById<SeekBar>(R.id.opacity).progress = 70
        activity.findViewById<SeekBar>(R.id.threads).progress = 2
        activity.findViewById<RadioGroup>(R.id.show).check(R.id.stuff)
        activity.findViewById<RadioGroup>(R.id.accelerator).check(R.id.gpu)
        val settings = Settings(application)
        assertEquals(listOf(70, 3), listOf(settings.opacity, settings.threads))
        assertEquals(Shown.STUFF to Accelerator.GPU, settings.shown to settings.accelerator)
        assertEquals("Opacity of the colours: 70 %", text(activity, R.id.opacity_label))
    }

    @Test
    @Config(qualifiers = "w360dp-h640dp-night-xhdpi")
    fun screensInTheDark() {
        Screens.save(Robolectric.buildActivity(SettingsActivity::class.java).setup().get(), "settings_night")
        val about = Robolectric.buildActivity(AboutActivity::class.java).setup().get()
        assertTrue(text(about, R.id.text).contains("no permission for the network"))
        Screens.save(about, "about_night")
    }

    @Test
    fun largeTextStaysOnTheScreen() {
        RuntimeEnvironment.setFontScale(2f)
        for (kind in others) {
            val screen = Robolectric.buildActivity(kind).setup().get()
            Screens.settle()
            assertTrue(Screens.colors(Screens.save(screen, "${kind.simpleName}_large")) > 20)
        }
        val activity = live(degrees = 90)
        activity.onFrame(FakeFrames.of(photo, 90))
        Screens.settle()
        Screens.save(activity, "live_large")
        checkButtons(activity, R.id.flip, R.id.pause, R.id.settings, R.id.model)
        val photos = photoActivity()
        Screens.save(photos, "photo_large")
        checkButtons(photos, R.id.choose, R.id.save_picture, R.id.share_coco)
    }

    private fun checkButtons(activity: android.app.Activity, vararg ids: Int) {
        for (button in ids.map { activity.findViewById<Button>(it) }) {
            val lines = button.layout
            val fits = lines.height <= button.height && lines.getLineWidth(0) <= button.width
            assertTrue(button.text.toString(), fits && lines.getLineEnd(0) == button.text.length)
        }
    }

    @Test
    @Config(qualifiers = "w640dp-h360dp-land-xhdpi")
    fun otherScreensOnTheirSide() {
        val photos = photoActivity()
        Screens.save(photos, "photo_landscape")
        assertTrue(photos.findViewById<View>(R.id.frame).height > 100)
        for (kind in others) {
            val screen = Robolectric.buildActivity(kind).setup().get()
            Screens.settle()
            assertTrue(Screens.colors(Screens.save(screen, "${kind.simpleName}_landscape")) > 20)
        }
    }

    @Test
    @Config(qualifiers = "w320dp-h280dp-xhdpi")
    fun splitScreenKeepsTheControls() {
        val activity = live(degrees = 90)
        activity.onFrame(FakeFrames.of(photo, 0))
        Screens.settle()
        Screens.save(activity, "live_split")
        checkButtons(activity, R.id.flip, R.id.pause, R.id.settings, R.id.model)
        assertTrue(activity.findViewById<View>(R.id.frame).height > 100)
    }
}
