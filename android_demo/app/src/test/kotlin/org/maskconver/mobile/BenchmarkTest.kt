package org.maskconver.mobile

import android.content.Intent
import android.os.BatteryManager
import android.os.Bundle
import android.widget.TextView
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.maskconver.segmenter.Npz
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode
import org.robolectric.shadows.ShadowEnvironment
import org.robolectric.shadows.ShadowLog
import org.robolectric.shadows.ShadowLooper

/** What `adb shell am start` asks, and the JSON that comes of it. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], qualifiers = "w360dp-h640dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class BenchmarkTest {
    private val fixtures = File(System.getProperty("fixtures"))
    private val folder get() = ResultFiles.folder(RuntimeEnvironment.getApplication())
    private val tiny = File(fixtures, "tiny_config_masks_uint8_float32.tflite")

    @Before
    fun load() {
        Screens.loadHostLibraries()
        ShadowEnvironment.addExternalDir("sdcard")
    }

    private fun start(fill: Intent.() -> Unit): BenchmarkActivity {
        val activity = Robolectric.buildActivity(BenchmarkActivity::class.java, Intent().apply(fill)).setup().get()
        BenchmarkActivity.worker?.join()
        ShadowLooper.idleMainLooper()
        return activity
    }

    private fun report(run: String) = JSONObject(File(folder, "$run.json").readText())

    private fun error(fill: Intent.() -> Unit): String {
        start { putExtra("run", "wrong").apply(fill) }
        return report("wrong").getString("error").also { assertFalse('\n' in it) }
    }

    @Test
    fun everyTimingIsKept() {
        val activity = start {
            putExtra("run", "all").putExtra("contract", 1).putExtra("model", tiny.path).putExtra("threads", 2)
            putExtra("runs", 7).putExtra("warmup", 3).putExtra("profile", true)
        }
        val report = report("all")
        assertTrue(report.isNull("error"))
        assertEquals(1, report.getInt("schema"))
        assertEquals(7, report.getJSONArray("samples_ms").length())
        assertEquals(3, report.getJSONArray("warmup_ms").length())
        val stages = report.getJSONObject("stages_ms")
        assertEquals(setOf("decode", "preprocess", "invoke", "merge"), stages.keys().asSequence().toSet())
        for (stage in stages.keys()) assertEquals(7, stages.getJSONArray(stage).length())
        for (key in listOf("load_cold_ms", "load_warm_ms", "first_invoke_ms")) assertTrue(report.getDouble(key) > 0)
        assertEquals(tiny.length(), report.getJSONObject("model").getLong("bytes"))
        assertEquals("2.16.1", report.getJSONObject("runtime").getString("version"))
        assertEquals("cpu", report.getJSONObject("accelerator").getString("used"))
        assertTrue(report.getJSONObject("before").has("thermal_status") && report.getJSONObject("after").has("uptime_ms"))
        assertTrue(report.getInt("peak_rss_kib") > 0)
        assertEquals(0, report.getJSONArray("outputs").length())
        assertTrue(activity.findViewById<TextView>(R.id.text).text.contains("of 7 runs"))
        val file = "/sdcard/Android/media/org.maskconver.mobile/benchmark/all.json"
        assertTrue(ShadowLog.getLogsForTag("MaskConver").any { it.msg == "result $file" })
        Screens.save(activity, "benchmark")
    }

    @Test
    fun givenTensorsAreTakenInTurnAndTheirOutputsWritten() {
        val answer = Npz.read(File(fixtures, "tiny_config_masks_uint8_float32.npz").readBytes())
        val photo = File(folder.parentFile, "photo.bin").apply { writeBytes(bytes(answer.getValue("input").data)) }
        val black = File(folder.parentFile, "black.bin").apply { writeBytes(ByteArray(photo.length().toInt())) }
        start {
            putExtra("run", "verify").putExtra("model", tiny.path).putExtra("runs", 3).putExtra("warmup", 0)
            putExtra("inputs", arrayOf(photo.path, black.path))
        }
        val report = report("verify")
        assertEquals(4, report.getJSONArray("samples_ms").length())
        assertEquals(black.path, report.getJSONObject("options").getJSONArray("inputs").getString(1))
        val outputs = report.getJSONArray("outputs").let { all -> List(all.length(), all::getJSONObject) }
        assertEquals(setOf("classes", "scores", "mask_logits"), outputs.map { it.getString("name") }.toSet())
        assertEquals(listOf(0, 0, 0, 1, 1, 1), outputs.map { it.getInt("input") })
        for (output in outputs) {
            val name = output.getString("name")
            val expected = answer.getValue("output/$name")
            assertEquals(expected.shape, output.getJSONArray("shape").let { shape -> List(shape.length(), shape::getInt) })
            val file = "verify.${output.getInt("input")}.$name.bin"
            assertEquals("/sdcard/Android/media/org.maskconver.mobile/benchmark/$file", output.getString("file"))
            assertEquals(File(folder, file).length(), output.getLong("bytes"))
            val found = ByteBuffer.wrap(File(folder, file).readBytes()).order(ByteOrder.LITTLE_ENDIAN)
            val same = if (output.getString("dtype") == "int32") bytes(expected.data).contentEquals(found.array())
            else expected.floats().all { abs(it - found.getFloat()) < 1e-3f }
            assertEquals(file, output.getInt("input") == 0, same)
        }
    }

    /** What Python's tests read as this app's, recorded here; where the app writes other things now, target/app_result.json is it. */
    @Test
    fun thePythonSideKnowsWhatIsWritten() {
        val full = Intent(Intent.ACTION_BATTERY_CHANGED).putExtra(BatteryManager.EXTRA_LEVEL, 87).putExtra(BatteryManager.EXTRA_SCALE, 100)
            .putExtra(BatteryManager.EXTRA_TEMPERATURE, 295).putExtra(BatteryManager.EXTRA_PLUGGED, BatteryManager.BATTERY_PLUGGED_USB)
        @Suppress("DEPRECATION") // It is what the system sends.
        RuntimeEnvironment.getApplication().sendStickyBroadcast(full)
        val photo = File(folder.parentFile, "photo.bin").apply { writeBytes(ByteArray(96 * 96 * 3) { it.toByte() }) }
        start {
            putExtra("run", "recorded").putExtra("contract", 1).putExtra("model", tiny.path).putExtra("threads", 2).putExtra("runs", 4)
            putExtra("warmup", 1).putExtra("min_seconds", 0.01f).putExtra("profile", true).putExtra("inputs", arrayOf(photo.path))
        }
        val repository = File(System.getProperty("repository"))
        File(folder, "recorded.json").copyTo(File(repository, "target/app_result.json"), overwrite = true)
        val recorded = JSONObject(File(repository.parentFile, "tests/data/app_result.json").readText())
        assertEquals(kinds(recorded), kinds(report("recorded")))
    }

    /** Keys and types of JSON, without its values. */
    private fun kinds(value: Any): Any = when (value) {
        is JSONObject -> value.keys().asSequence().associateWith { kinds(value.get(it)) }
        is JSONArray -> List(value.length()) { kinds(value.get(it)) }.toSet()
        is Number -> "number"
        JSONObject.NULL -> "null"
        else -> value.javaClass.simpleName
    }

    private fun bytes(buffer: ByteBuffer) = ByteArray(buffer.remaining()).also { buffer.duplicate().get(it) }

    @Test
    fun withoutAModelTheBundledOneIsMeasured() {
        start { putExtra("run", "bundled").putExtra("runs", 1).putExtra("warmup", 0).putExtra("accelerator", "gpu") }
        val report = report("bundled")
        assertEquals(1, report.getJSONArray("samples_ms").length())
        val accelerator = report.getJSONObject("accelerator")
        assertEquals(listOf("gpu", "cpu"), listOf(accelerator.getString("asked"), accelerator.getString("used")))
        assertTrue(accelerator.getString("reason").isNotEmpty())
    }

    @Test
    fun mistakesAreOneLine() {
        assertTrue(error { putExtra("model", "/nowhere/model.tflite") }.startsWith("/nowhere/model.tflite: cannot be opened"))
        assertEquals("threads is 0; expected 1 to 64", error { putExtra("threads", 0) })
        assertEquals("runs is 'many'; expected a whole number (--ei)", error { putExtra("runs", "many") })
        assertEquals("min_seconds is NaN; expected 0 to 3600", error { putExtra("min_seconds", Float.NaN) })
        assertEquals("accelerator is 'npu'; expected cpu or gpu", error { putExtra("accelerator", "npu") })
        assertEquals("the computer speaks contract 2 and this app 1; install the app anew", error { putExtra("contract", 2) })
        val short = File(folder.parentFile, "short.bin").apply { writeBytes(ByteArray(5)) }
        val size = 96 * 96 * 3
        fun inputError(path: String) = error { putExtra("model", tiny.path).putExtra("inputs", arrayOf(path)) }
        assertEquals("input 0 (${short.path}) has 5 bytes; this model takes $size", inputError(short.path))
        assertTrue(inputError("/nowhere").startsWith("input 0 (/nowhere) cannot be opened"))
        assertEquals("inputs is '/nowhere'; expected a list of texts (--esa)", error { putExtra("inputs", "/nowhere") })
        assertEquals("inputs has 101 paths; expected 1 to 100", error { putExtra("inputs", Array(101) { "x" }) })
        val text = File(folder.parentFile, "text.tflite").apply { writeText("no model at all") }
        assertTrue(error { putExtra("model", text.path) }.contains("is no TFLite model"))
        val noPicture = error { putExtra("model", tiny.path).putExtra("runs", 1).putExtra("profile", true).putExtra("image", text.path) }
        assertTrue(noPicture.contains("picture"))
    }

    @Test
    fun withoutANameThereIsNoFile() {
        val before = folder.list().orEmpty().toSet()
        for (run in listOf(null, "", "../up", "a b", "x".repeat(65))) {
            val activity = start { putExtra("run", run) }
            assertTrue(activity.findViewById<TextView>(R.id.text).text.contains("run is missing or malformed"))
        }
        assertEquals(before, folder.list().orEmpty().toSet())
    }

    @Test
    fun filesOfAnEarlierRunGoAndOthersStay() {
        val (old, other) = File(folder, "again.old.bin") to File(folder, "again2.json")
        listOf(old, other).forEach { it.writeText("x") }
        start { putExtra("run", "again").putExtra("model", tiny.path).putExtra("runs", 1) }
        assertTrue(!old.exists() && other.exists() && File(folder, "again.json").exists())
    }

    @Test
    fun extrasHaveDefaults() {
        val request = BenchmarkRequest.of(Bundle())
        assertEquals(listOf(4, 50, 5), listOf(request.threads, request.runs, request.warmup))
        assertTrue(request.halfPrecision && !request.profile && request.inputs.isEmpty())
    }
}
