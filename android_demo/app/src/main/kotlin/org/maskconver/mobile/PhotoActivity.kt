package org.maskconver.mobile

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.graphics.Bitmap
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.MediaStore
import android.view.View
import android.widget.Button
import android.widget.TextView
import android.widget.Toast
import java.io.IOException
import org.maskconver.segmenter.MaskConverException
import org.maskconver.segmenter.PanopticResult

/** One photo: chosen here, shared into the app, or opened with it. */
class PhotoActivity : Activity() {
    private val settings by lazy { Settings(this) }
    private lateinit var view: FrameView
    private var uri: Uri? = null
    private var exports: Exports? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_photo)
        view = findViewById(R.id.frame)
        onClick(R.id.choose, ::choose)
        onClick(R.id.save_picture) { ask(saving("image/png").putExtra(Intent.EXTRA_TITLE, Exports.PICTURE), SAVE_PICTURE) }
        onClick(R.id.save_coco) { ask(Intent(Intent.ACTION_OPEN_DOCUMENT_TREE), SAVE_COCO) }
        onClick(R.id.share_picture) { exports?.let { share("image/png", mapOf(Exports.PICTURE to it.picture())) } }
        onClick(R.id.share_coco) { exports?.let { share("*/*", it.coco()) } }
        enable(false)
        val given = savedInstanceState?.getString(KEY) ?: given(intent)?.toString()
        if (given != null) open(Uri.parse(given)) else if (savedInstanceState == null) choose()
    }

    private fun onClick(id: Int, work: () -> Unit) = findViewById<Button>(id).setOnClickListener { work() }

    @Suppress("DEPRECATION") // The successor needs Android 13.
    private fun given(intent: Intent): Uri? =
        if (intent.action == Intent.ACTION_SEND) intent.getParcelableExtra(Intent.EXTRA_STREAM) else intent.data

    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        state.putString(KEY, uri?.toString())
    }

    private fun choose() {
        val picker = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU) Intent(MediaStore.ACTION_PICK_IMAGES)
        else Intent(Intent.ACTION_GET_CONTENT).addCategory(Intent.CATEGORY_OPENABLE)
        ask(picker.setType("image/*"), CHOOSE)
    }

    private fun saving(type: String) = Intent(Intent.ACTION_CREATE_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType(type)

    @Suppress("DEPRECATION") // The successor is a part of androidx.
    private fun ask(intent: Intent, code: Int) = try {
        startActivityForResult(intent, code)
    } catch (_: ActivityNotFoundException) {
        toast(getString(R.string.nobody_answers))
    }

    @Deprecated("The successor is a part of androidx.")
    override fun onActivityResult(code: Int, result: Int, data: Intent?) {
        val chosen = data?.data?.takeIf { result == RESULT_OK }
        when {
            chosen == null -> if (code == CHOOSE && uri == null) finish()
            code == CHOOSE -> open(chosen)
            code == SAVE_PICTURE -> save { Exports.write(this, chosen, it.picture()) }
            code == SAVE_COCO -> save { Exports.writeAll(this, chosen, it.coco()) }
        }
    }

    private fun open(photo: Uri) {
        uri = photo
        exports = null
        enable(false)
        view.clearResult()
        say(getString(R.string.working))
        Engine.submit(this, { segmenter ->
            val bitmap = try {
                Photos.read(this, photo)
            } catch (error: IOException) {
                throw MaskConverException(getString(R.string.cannot_read_photo, error.message), error)
            }
            bitmap to segmenter.segment(bitmap)
        }, { (bitmap, result) -> show(bitmap, result) }, ::say)
    }

    private fun show(bitmap: Bitmap, result: PanopticResult) {
        if (isDestroyed) return
        exports = Exports(bitmap, result, settings)
        view.showPicture(bitmap)
        view.showResult(result, settings)
        val seen = result.segments.filter(settings::shows).map { it.label }.distinct().joinToString()
        val words = seen.ifEmpty { getString(R.string.nothing_seen) }
        say(getString(R.string.photo_stats, result.width, result.height, result.segments.size, result.timings.total) + "\n" + words)
        view.contentDescription = words
        enable(true)
    }

    private fun save(work: (Exports) -> Unit) = try {
        exports?.let(work)
        toast(getString(R.string.saved))
    } catch (error: IOException) {
        toast(getString(R.string.cannot_save, error.message))
    }

    private fun share(type: String, files: Map<String, ByteArray>) {
        val uris = ArrayList(Exports.share(this, files))
        val intent = if (uris.size == 1) Intent(Intent.ACTION_SEND).putExtra(Intent.EXTRA_STREAM, uris[0])
        else Intent(Intent.ACTION_SEND_MULTIPLE).putParcelableArrayListExtra(Intent.EXTRA_STREAM, uris)
        startActivity(Intent.createChooser(intent.setType(type).addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION), null))
    }

    private fun enable(on: Boolean) {
        for (id in listOf(R.id.save_picture, R.id.save_coco, R.id.share_picture, R.id.share_coco)) findViewById<View>(id).isEnabled = on
    }

    private fun say(text: String) {
        findViewById<TextView>(R.id.stats).text = text
    }

    private fun toast(text: String) = Toast.makeText(this, text, Toast.LENGTH_LONG).show()

    companion object {
        /** Stands for the photograph in the app itself. */
        const val BUNDLED = "asset:demo.jpg"
        private const val KEY = "uri"
        private const val CHOOSE = 1
        private const val SAVE_PICTURE = 2
        private const val SAVE_COCO = 3
    }
}
