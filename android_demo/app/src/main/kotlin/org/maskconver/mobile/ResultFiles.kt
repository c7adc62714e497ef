package org.maskconver.mobile

import android.content.Context
import java.io.File
import java.io.IOException
import org.json.JSONObject

/** Where a benchmark's files go: the one folder that both the app and `adb shell` may use on every version of Android. */
object ResultFiles {
    /** @throws IOException there is no shared storage now. */
    @Suppress("DEPRECATION") // The successors are for media, and not for adb.
    fun folder(context: Context): File {
        val media = context.externalMediaDirs.firstOrNull { it != null } ?: throw IOException("the phone has no shared storage now")
        return File(media, "benchmark").also { if (!it.isDirectory && !it.mkdirs()) throw IOException("$it cannot be made") }
    }

    /** Deletes what an earlier run of the same name left. */
    fun clear(folder: File, run: String) {
        folder.listFiles()?.filter { it.name.startsWith("$run.") }?.forEach(File::delete)
    }

    /** Writes the report, whole or not at all, as the last of a run's files. */
    fun write(folder: File, run: String, report: JSONObject): File {
        val part = File(folder, "$run.part")
        part.writeText(report.toString(1))
        return File(folder, "$run.json").also { if (!part.renameTo(it)) throw IOException("$it cannot be written") }
    }

    /** A path as the shell knows it. */
    fun shellPath(file: File): String = "/sdcard/Android/media/" + file.path.substringAfter("/Android/media/")
}
