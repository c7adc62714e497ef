package org.maskconver.mobile

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.net.Uri
import android.provider.DocumentsContract
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.IOException
import org.json.JSONArray
import org.json.JSONObject
import org.maskconver.segmenter.PanopticResult

/** A photo's result as files: a picture for people, or COCO's panoptic format for programs. */
class Exports(private val photo: Bitmap, private val result: PanopticResult, private val settings: Settings) {
    /** The photo with its segments as a PNG. */
    fun picture(): ByteArray {
        val picture = photo.copy(Bitmap.Config.ARGB_8888, true)
        Canvas(picture).drawBitmap(result.overlay(settings.opacity / 100f, null, settings::shows), 0f, 0f, null)
        return png(picture)
    }

    /** Names and contents of COCO's files: the JSON, and the PNG whose pixels are segment ids. */
    fun coco(): Map<String, ByteArray> {
        val (ids, annotation) = result.toCoco(1, "$COCO.png")
        val image = JSONObject().put("id", 1).put("file_name", "photo.jpg").put("height", result.height).put("width", result.width)
        val categories = JSONArray()
        for (category in result.categories) {
            categories.put(JSONObject().put("id", category.id).put("name", category.name).put("isthing", if (category.isThing) 1 else 0))
        }
        val json = JSONObject().put("images", JSONArray().put(image)).put("annotations", JSONArray().put(annotation))
        json.put("categories", categories)
        return mapOf("$COCO.json" to json.toString(1).toByteArray(), "$COCO.png" to png(ids))
    }

    private fun png(bitmap: Bitmap) = ByteArrayOutputStream().also { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }.toByteArray()

    companion object {
        const val PICTURE = "segments.png"
        private const val COCO = "panoptic"

        /** @throws IOException it cannot be written. */
        fun write(context: Context, to: Uri, content: ByteArray) = guarded {
            val stream = context.contentResolver.openOutputStream(to, "wt") ?: throw IOException("nothing there")
            stream.use { it.write(content) }
        }

        /** Writes files into a folder that the user chose. */
        fun writeAll(context: Context, folder: Uri, files: Map<String, ByteArray>) = guarded {
            val parent = DocumentsContract.buildDocumentUriUsingTree(folder, DocumentsContract.getTreeDocumentId(folder))
            for ((name, content) in files) {
                val type = if (name.endsWith(".png")) "image/png" else "application/json"
                val document = DocumentsContract.createDocument(context.contentResolver, parent, type, name)
                write(context, document ?: throw IOException("nothing there"), content)
            }
        }

        private fun guarded(work: () -> Unit) = try {
            work()
        } catch (error: RuntimeException) {
            throw IOException(error.message, error)
        }

        /** Files for other apps to read, as addresses; those of before are gone. */
        fun share(context: Context, files: Map<String, ByteArray>): List<Uri> {
            val folder = File(context.cacheDir, ShareProvider.FOLDER)
            folder.deleteRecursively()
            folder.mkdirs()
            return files.map { (name, content) ->
                File(folder, name).writeBytes(content)
                ShareProvider.uri(name)
            }
        }
    }
}
