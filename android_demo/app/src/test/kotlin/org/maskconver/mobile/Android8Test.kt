package org.maskconver.mobile

import android.Manifest
import android.content.Intent
import android.net.Uri
import android.view.View
import android.widget.TextView
import java.io.File
import org.json.JSONObject
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode
import org.robolectric.shadows.ShadowEnvironment
import org.robolectric.shadows.ShadowLooper

/** The oldest Android that the app runs on: nothing newer is called there. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [26], qualifiers = "w360dp-h640dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class Android8Test {
    private val application get() = RuntimeEnvironment.getApplication()

    @Before
    fun load() {
        Screens.loadHostLibraries()
        ShadowEnvironment.addExternalDir("sdcard")
    }

    @After
    fun realCamera() {
        MainActivity.cameras = ::CameraSource
    }

    @Test
    fun liveViewAndPhoto() {
        shadowOf(application).grantPermissions(Manifest.permission.CAMERA)
        MainActivity.cameras = { _, _, _ -> FakeCamera(90, isFront = false) }
        val live = Robolectric.buildActivity(MainActivity::class.java).setup().get()
        live.onFrame(FakeFrames.of(Photos.read(application, Uri.parse(PhotoActivity.BUNDLED)), 90))
        Screens.settle()
        assertTrue(live.findViewById<TextView>(R.id.stats).text.contains("network"))
        val intent = Intent(application, PhotoActivity::class.java).setData(Uri.parse(PhotoActivity.BUNDLED))
        val photo = Robolectric.buildActivity(PhotoActivity::class.java, intent).setup().get()
        Screens.settle()
        assertTrue(photo.findViewById<View>(R.id.share_coco).isEnabled)
    }

    @Test
    fun otherScreens() {
        for (kind in listOf(SettingsActivity::class.java, ModelActivity::class.java, AboutActivity::class.java)) {
            val screen = Robolectric.buildActivity(kind).setup().get()
            Screens.settle()
            assertTrue(Screens.colors(Screens.save(screen, "${kind.simpleName}_android_8")) > 20)
        }
    }

    @Test
    fun benchmarkLeavesOutWhatThePhoneDoesNotTell() {
        val intent = Intent().putExtra("run", "old").putExtra("runs", 2).putExtra("warmup", 0)
        Robolectric.buildActivity(BenchmarkActivity::class.java, intent).setup()
        BenchmarkActivity.worker?.join()
        ShadowLooper.idleMainLooper()
        val report = JSONObject(File(ResultFiles.folder(application), "old.json").readText())
        assertEquals(2, report.getJSONArray("samples_ms").length())
        assertFalse(report.getJSONObject("after").has("thermal_status"))
        assertTrue(report.getJSONObject("after").has("power_save"))
    }
}
