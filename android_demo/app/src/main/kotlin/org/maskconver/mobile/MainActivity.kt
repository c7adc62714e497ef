package org.maskconver.mobile

import android.Manifest
import android.app.Activity
import android.content.Intent
import android.content.pm.PackageManager
import android.graphics.Bitmap
import android.media.Image
import android.net.Uri
import android.os.Bundle
import android.os.SystemClock
import android.provider.Settings.ACTION_APPLICATION_DETAILS_SETTINGS
import android.util.Log
import android.view.Surface
import android.view.View
import android.view.WindowManager
import android.widget.Button
import android.widget.TextView
import android.widget.Toast
import android.widget.ToggleButton
import java.io.File
import org.maskconver.segmenter.PanopticResult
import org.maskconver.segmenter.Plane
import org.maskconver.segmenter.RgbImage
import org.maskconver.segmenter.YuvImage

/** The live view, and where the app begins. */
class MainActivity : Activity() {
    private val settings by lazy { Settings(this) }
    private val camera: FrameSource by lazy { cameras(this, ::onFrame) { explain(R.string.no_camera) } }
    private val frames = NewestFrame()
    private val rate = Rate()
    private val announcer = Announcer(SystemClock::uptimeMillis)
    private lateinit var view: FrameView
    private val pictures = arrayOfNulls<Bitmap>(3)
    private var lastPicture: Bitmap? = null

    @Volatile
    private var paused = false
    private var result: PanopticResult? = null
    private var busy = false
    private var alive = false
    private var fallback = ""

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_main)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        view = findViewById(R.id.frame)
        onClick(R.id.allow) { requestPermissions(arrayOf(Manifest.permission.CAMERA), 0) }
        onClick(R.id.photo_instead) { startActivity(Intent(this, PhotoActivity::class.java)) }
        onClick(R.id.photo) { startActivity(Intent(this, PhotoActivity::class.java)) }
        onClick(R.id.model) { startActivity(Intent(this, ModelActivity::class.java)) }
        onClick(R.id.settings) { startActivity(Intent(this, SettingsActivity::class.java)) }
        findViewById<View>(R.id.banner).setOnClickListener { startActivity(Intent(this, ModelActivity::class.java)) }
        onClick(R.id.flip) {
            settings.frontCamera = !settings.frontCamera
            startCamera()
        }
        findViewById<ToggleButton>(R.id.torch).setOnCheckedChangeListener { _, on -> camera.setTorch(on) }
        findViewById<ToggleButton>(R.id.pause).setOnCheckedChangeListener { _, checked ->
            paused = checked
            segmentNewest()
        }
        if (savedInstanceState == null) obeyShell(intent)
    }

    private fun onClick(id: Int, work: () -> Unit) = findViewById<Button>(id).setOnClickListener { work() }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        obeyShell(intent)
    }

    /** What `adb shell am start` asks: a model by path, and where to begin. */
    private fun obeyShell(intent: Intent) {
        if (intent.component?.className != SHELL) return
        intent.getStringExtra("model")?.let { path ->
            Engine.submit({ ModelStore(this).open(File(path)) }, { showBanner() }, { failure ->
                Log.e(TAG, "error $failure")
                Toast.makeText(this, failure, Toast.LENGTH_LONG).show()
            })
        }
        when (intent.getStringExtra("view")) {
            "photo" -> startActivity(Intent(this, PhotoActivity::class.java).setData(Uri.parse(PhotoActivity.BUNDLED)))
            "model" -> startActivity(Intent(this, ModelActivity::class.java))
        }
    }

    override fun onResume() {
        super.onResume()
        alive = true
        showBanner()
        val granted = checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED
        if (granted) startCamera() else explain(R.string.why_camera)
    }

    private fun showBanner() {
        findViewById<View>(R.id.banner).visibility = if (ModelStore(this).isBundled) View.VISIBLE else View.GONE
    }

    override fun onPause() {
        alive = false
        camera.stop()
        super.onPause()
    }

    override fun onRequestPermissionsResult(code: Int, permissions: Array<String>, results: IntArray) {
        super.onRequestPermissionsResult(code, permissions, results)
        val refused = results.firstOrNull() == PackageManager.PERMISSION_DENIED
        // Refused for good, the system does not ask again; its own page about the app is the only way.
        if (refused && !shouldShowRequestPermissionRationale(Manifest.permission.CAMERA)) {
            startActivity(Intent(ACTION_APPLICATION_DETAILS_SETTINGS, Uri.parse("package:$packageName")))
        }
    }

    private fun startCamera() {
        if (!camera.start(settings.frontCamera)) return explain(R.string.no_camera)
        findViewById<View>(R.id.explanation).visibility = View.GONE
        val torch = findViewById<ToggleButton>(R.id.torch)
        torch.isEnabled = camera.hasTorch
        camera.setTorch(torch.isChecked && camera.hasTorch)
        view.mirrored = camera.isFront
        if (result == null) say(getString(R.string.loading))
    }

    private fun explain(text: Int) {
        findViewById<View>(R.id.explanation).visibility = View.VISIBLE
        findViewById<TextView>(R.id.reason).setText(text)
        findViewById<View>(R.id.allow).visibility = if (text == R.string.why_camera) View.VISIBLE else View.GONE
    }

    private fun onFrame(image: Image) {
        val (y, u, v) = image.planes.map { Plane(it.buffer, it.rowStride, it.pixelStride) }
        val crop = image.cropRect
        onFrame(YuvImage(y, u, v, crop.left, crop.top, crop.height(), crop.width()))
    }

    /** Takes a frame on the camera's thread: it is shown at once, and segmented when the last one is done. */
    internal fun onFrame(yuv: YuvImage) {
        if (paused) return
        val degrees = CameraSource.uprightDegrees(camera.sensorDegrees, screenDegrees(), camera.isFront)
        frames.put { frame ->
            frame.read(yuv, degrees)
            show(frame.picture)
        }
        runOnUiThread(::segmentNewest)
    }

    /** Asked for every frame: a turn from one side to the other does not start the activity anew. */
    @Suppress("DEPRECATION") // The successor needs Android 11.
    private fun screenDegrees(): Int = when (windowManager.defaultDisplay.rotation) {
        Surface.ROTATION_90 -> 90
        Surface.ROTATION_180 -> 180
        Surface.ROTATION_270 -> 270
        else -> 0
    }

    /** The picture is copied before the frame may change again; some bitmaps take turns. */
    private fun show(picture: RgbImage) {
        val (height, width) = picture.height to picture.width
        val next = (pictures.indexOf(lastPicture) + 1) % pictures.size
        val bitmap = pictures[next]?.takeIf { it.width == width && it.height == height }
            ?: Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888)
        pictures[next] = bitmap
        lastPicture = bitmap
        bitmap.setPixels(picture.pixels, 0, width, 0, 0, width, height)
        runOnUiThread { view.showPicture(bitmap) }
    }

    private fun segmentNewest() {
        if (busy || !alive || paused) return
        val frame = frames.take() ?: return
        busy = true
        Engine.submit(this, { segmenter ->
            fallback = segmenter.fallbackReason
            segmenter.segment(frame.image, frame.decodeMs, result)
        }, { found ->
            busy = false
            showResult(found)
            segmentNewest()
        }, { failure ->
            busy = false
            say(failure)
        })
    }

    private fun showResult(found: PanopticResult) {
        result = found
        if (!alive) return
        view.showResult(found, settings)
        val times = found.timings
        val perSecond = rate.count(SystemClock.uptimeMillis())
        val stats = getString(R.string.stats, perSecond, times.total, times.decode, times.preprocess, times.invoke, times.merge)
        say(if (fallback.isEmpty()) stats else stats + "\n" + getString(R.string.gpu_fallback, fallback))
        announcer.words(found.segments.filter(settings::shows))?.let {
            view.contentDescription = it
            @Suppress("DEPRECATION") // Live regions would read the numbers, too.
            view.announceForAccessibility(it)
        }
    }

    private fun say(text: String) {
        findViewById<TextView>(R.id.stats).text = text
    }

    companion object {
        const val TAG = "MaskConver"
        const val SHELL = "org.maskconver.mobile.ShellActivity"

        /** Makes the camera; tests put another one here. */
        internal var cameras: (Activity, (Image) -> Unit, () -> Unit) -> FrameSource = ::CameraSource
    }
}
