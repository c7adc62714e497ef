package org.maskconver.mobile

import android.app.Activity
import android.content.Intent
import android.os.Build
import android.os.Bundle
import android.util.Log
import android.view.WindowManager
import android.widget.TextView
import java.io.IOException
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.concurrent.thread
import org.json.JSONArray
import org.json.JSONObject

/**
 * Measures what `adb shell am start` asks, and writes one JSON file; see [BenchmarkRequest] for the extras.
 *
 * Only the shell may start it: it needs the permission DUMP, which no app can have.
 */
class BenchmarkActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_text)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        @Suppress("DEPRECATION") // For Android 8.0; later versions read the manifest.
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.O_MR1) {
            window.addFlags(WindowManager.LayoutParams.FLAG_SHOW_WHEN_LOCKED or WindowManager.LayoutParams.FLAG_TURN_SCREEN_ON)
        }
        if (savedInstanceState == null) begin(intent)
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        begin(intent)
    }

    private fun begin(intent: Intent) {
        val extras = intent.extras ?: Bundle()
        val run = BenchmarkRequest.runOf(extras)
            ?: return fail("run is missing or malformed; expected letters, digits, _ and -, at most 64")
        if (!running.compareAndSet(false, true)) return refuse(run)
        say(getString(R.string.benchmark_running, run))
        worker = thread(name = "benchmark") {
            try {
                val folder = ResultFiles.folder(this)
                ResultFiles.clear(folder, run)
                val report = Benchmark.report(this, extras, folder, run)
                val file = ResultFiles.write(folder, run, report)
                Log.i(MainActivity.TAG, "result ${ResultFiles.shellPath(file)}")
                runOnUiThread { show(report) }
            } catch (error: IOException) {
                runOnUiThread { fail(error.message.orEmpty()) }
            } finally {
                running.set(false)
            }
        }
    }

    /** A run that comes while another one is measured says so, and leaves that one alone. */
    private fun refuse(run: String) = try {
        val busy = "another benchmark is running on this phone; wait for it or start with -S"
        ResultFiles.write(ResultFiles.folder(this), run, Benchmark.header(this, run).put("error", busy))
        Log.e(MainActivity.TAG, "error $busy")
        Unit
    } catch (error: IOException) {
        fail(error.message.orEmpty())
    }

    private fun fail(reason: String) {
        Log.e(MainActivity.TAG, "error $reason")
        say(getString(R.string.benchmark_failed, reason))
    }

    private fun show(report: JSONObject) {
        if (!report.isNull("error")) return fail(report.getString("error"))
        val samples = report.getJSONArray("samples_ms")
        val used = report.getJSONObject("accelerator").getString("used")
        val threads = report.getJSONObject("options").getInt("threads")
        val name = report.getJSONObject("model").getString("name")
        say(getString(R.string.benchmark_done, name, median(samples), samples.length(), threads, used))
    }

    private fun median(samples: JSONArray): Double {
        val sorted = List(samples.length(), samples::getDouble).sorted()
        return if (sorted.isEmpty()) 0.0 else (sorted[(sorted.size - 1) / 2] + sorted[sorted.size / 2]) / 2
    }

    private fun say(text: String) {
        findViewById<TextView>(R.id.text).text = text
    }

    companion object {
        private val running = AtomicBoolean()

        /** The thread of the last run, for tests to wait for. */
        internal var worker: Thread? = null
    }
}
