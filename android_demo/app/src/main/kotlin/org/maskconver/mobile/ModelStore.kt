package org.maskconver.mobile

import android.content.Context
import android.net.Uri
import android.provider.OpenableColumns
import java.io.File
import java.io.IOException
import java.io.InputStream
import org.maskconver.segmenter.MaskConverException
import org.maskconver.segmenter.ModelFile
import org.maskconver.segmenter.ModelFiles

/** The model in use: the bundled one, or a copy of the file that was opened last. */
class ModelStore(private val context: Context) {
    private val folder = File(context.filesDir, "model")
    private val opened: File? get() = folder.listFiles()?.firstOrNull { it.name.endsWith(SUFFIX) }

    val isBundled: Boolean get() = opened == null

    /** What the model in use is called. */
    val name: String get() = opened?.name ?: BUNDLED

    /** Changes whenever another model is opened. */
    val stamp: String get() = opened?.let { "${it.name} ${it.lastModified()} ${it.length()}" } ?: BUNDLED

    /** @throws MaskConverException it cannot be read any more. */
    fun load(): ModelFile = opened?.let(ModelFiles::fromFile) ?: ModelFiles.fromAsset(context, BUNDLED)

    /**
     * Opens a document that the user chose; the old model stays where it is no model of ours.
     *
     * @throws MaskConverException it is none.
     */
    fun open(uri: Uri) {
        ModelFiles.fromUri(context, uri)
        keep(nameOf(uri)) { context.contentResolver.openInputStream(uri) ?: throw IOException("nothing there") }
    }

    /** As for a document, for a file. */
    fun open(file: File) {
        ModelFiles.fromFile(file)
        keep(file.name) { file.inputStream() }
    }

    fun useBundled() {
        folder.listFiles()?.forEach(File::delete)
    }

    private fun nameOf(uri: Uri): String {
        val shown = try {
            context.contentResolver.query(uri, arrayOf(OpenableColumns.DISPLAY_NAME), null, null, null)?.use {
                if (it.moveToFirst()) it.getString(0) else null
            }
        } catch (_: RuntimeException) {
            null
        }
        return shown ?: uri.lastPathSegment ?: "model"
    }

    /** The copy appears whole or not at all. */
    private fun keep(name: String, source: () -> InputStream) {
        val safe = name.substringAfterLast('/').removeSuffix(SUFFIX).filter { it.isLetterOrDigit() || it in "._- " }.take(80)
        try {
            folder.mkdirs()
            val part = File(folder, "part")
            source().use { from -> part.outputStream().use(from::copyTo) }
            folder.listFiles()?.filter { it != part }?.forEach(File::delete)
            if (!part.renameTo(File(folder, safe.ifBlank { "model" } + SUFFIX))) throw IOException("no place")
        } catch (error: IOException) {
            throw MaskConverException("$name: cannot be copied (${error.message}); free some space on the phone", error)
        }
    }

    companion object {
        const val BUNDLED = "demo.tflite"
        const val PHOTO = "demo.jpg"
        private const val SUFFIX = ".tflite"
    }
}
