package org.maskconver.mobile

import android.content.ContentProvider
import android.content.ContentValues
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException

/** Lets an app that the user chose read what is shared with it, and nothing else. */
class ShareProvider : ContentProvider() {
    override fun onCreate() = true

    private fun file(uri: Uri): File {
        val name = uri.pathSegments.singleOrNull()?.takeIf { it in NAMES } ?: throw FileNotFoundException("$uri")
        return File(File(checkNotNull(context).cacheDir, FOLDER), name)
    }

    override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor {
        if (mode != "r") throw FileNotFoundException("$uri is for reading")
        return ParcelFileDescriptor.open(file(uri), ParcelFileDescriptor.MODE_READ_ONLY)
    }

    override fun getType(uri: Uri) = if (uri.path.orEmpty().endsWith(".json")) "application/json" else "image/png"

    override fun query(uri: Uri, projection: Array<String>?, selection: String?, args: Array<String>?, order: String?): Cursor {
        val file = file(uri)
        val facts = mapOf(OpenableColumns.DISPLAY_NAME to file.name, OpenableColumns.SIZE to file.length())
        return MatrixCursor(facts.keys.toTypedArray()).apply { addRow(facts.values) }
    }

    override fun insert(uri: Uri, values: ContentValues?): Uri? = null

    override fun update(uri: Uri, values: ContentValues?, selection: String?, args: Array<String>?) = 0

    override fun delete(uri: Uri, selection: String?, args: Array<String>?) = 0

    companion object {
        const val FOLDER = "shared"
        private val NAMES = setOf(Exports.PICTURE, "panoptic.json", "panoptic.png")

        fun uri(name: String): Uri = Uri.parse("content://org.maskconver.mobile.shared/$name")
    }
}
