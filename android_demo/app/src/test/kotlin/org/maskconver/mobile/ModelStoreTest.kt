package org.maskconver.mobile

import android.app.Application
import android.content.ComponentName
import android.content.Intent
import android.net.Uri
import android.widget.TextView
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.maskconver.segmenter.MaskConverException
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode
import org.robolectric.shadows.ShadowLog
import org.robolectric.shadows.ShadowToast

/** Which model is in use, and who may change that. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34])
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class ModelStoreTest {
    private val application: Application get() = RuntimeEnvironment.getApplication()
    private val store by lazy { ModelStore(application) }
    private val tiny = File(System.getProperty("fixtures"), "tiny_config_heads_float32_float32.tflite")

    @Before
    fun load() = Screens.loadHostLibraries()

    private fun shell(component: String, path: String) =
        Intent().setComponent(ComponentName(application, component)).putExtra("model", path)

    @Test
    fun theShellOpensAModelAndItStays() {
        Robolectric.buildActivity(MainActivity::class.java, shell(MainActivity.SHELL, tiny.path)).setup()
        Screens.settle()
        assertFalse(store.isBundled)
        assertEquals(tiny.name, ModelStore(application).name)
        assertEquals("heads", ModelStore(application).load().card.level.name.lowercase())
        val activity = Robolectric.buildActivity(ModelActivity::class.java).setup().get()
        activity.findViewById<android.view.View>(R.id.use_demo).performClick()
        assertTrue(store.isBundled)
    }

    @Test
    fun aChosenDocumentIsCopied() {
        val uri = Uri.parse("content://elsewhere/documents/17")
        shadowOf(application.contentResolver).registerInputStreamSupplier(uri) { tiny.inputStream() }
        val activity = Robolectric.buildActivity(ModelActivity::class.java).setup().get()
        activity.findViewById<android.view.View>(R.id.open).performClick()
        val asked = shadowOf(activity).nextStartedActivityForResult
        assertEquals(Intent.ACTION_OPEN_DOCUMENT, asked.intent.action)
        shadowOf(activity).receiveResult(asked.intent, android.app.Activity.RESULT_OK, Intent().setData(uri))
        Screens.settle()
        assertEquals("Opened 17.tflite", activity.findViewById<TextView>(R.id.note).text.toString())
        assertTrue(File(application.filesDir, "model/17.tflite").readBytes().contentEquals(tiny.readBytes()))
        assertTrue(activity.findViewById<TextView>(R.id.card).text.contains("Level: heads"))
    }

    @Test
    fun otherAppsCannotOpenAModel() {
        Robolectric.buildActivity(MainActivity::class.java, shell(MainActivity::class.java.name, tiny.path)).setup()
        Screens.settle()
        assertTrue(store.isBundled)
    }

    @Test
    fun aFileThatIsNoModelLeavesTheOldOne() {
        store.open(tiny)
        val text = File(application.cacheDir, "text.tflite").apply { writeText("no model at all") }
        Robolectric.buildActivity(MainActivity::class.java, shell(MainActivity.SHELL, text.path)).setup()
        Screens.settle()
        val line = "${text.path}: is no TFLite model; choose a .tflite file made by maskconver-mobile"
        assertEquals(line, ShadowToast.getTextOfLatestToast())
        assertTrue(ShadowLog.getLogsForTag("MaskConver").any { it.msg == "error $line" })
        assertEquals(tiny.name, store.name)
        val uri = Uri.parse("content://elsewhere/other.tflite")
        shadowOf(application.contentResolver).registerInputStreamSupplier(uri) { text.inputStream() }
        assertThrows(MaskConverException::class.java) { store.open(uri) }
        assertEquals(tiny.name, store.name)
    }

    @Test
    fun onlyTheShellHasThePermission() {
        val manager = application.packageManager
        for (name in listOf(MainActivity.SHELL, BenchmarkActivity::class.java.name)) {
            assertEquals("android.permission.DUMP", manager.getActivityInfo(ComponentName(application, name), 0).permission)
        }
        val info = manager.getPackageInfo(application.packageName, android.content.pm.PackageManager.GET_PERMISSIONS)
        assertEquals(listOf("android.permission.CAMERA"), info.requestedPermissions!!.toList())
    }
}
