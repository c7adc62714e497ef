package org.maskconver.mobile

import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import android.media.ExifInterface
import android.net.Uri
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream

/** Pictures from files, upright and not larger than a screen can show. */
object Photos {
    private const val LONGEST = 2048

    /** @throws IOException it cannot be read, or is no picture. */
    fun read(context: Context, uri: Uri): Bitmap {
        fun open(): InputStream = try {
            if (uri.toString() == PhotoActivity.BUNDLED) context.assets.open(ModelStore.PHOTO)
            else context.contentResolver.openInputStream(uri) ?: throw FileNotFoundException("nothing there")
        } catch (error: SecurityException) {
            throw IOException("it may not be opened", error)
        }
        return read(::open)
    }

    /** As for a document, for a stream that can be opened several times. */
    fun read(open: () -> InputStream): Bitmap {
        val bounds = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        open().use { BitmapFactory.decodeStream(it, null, bounds) }
        if (bounds.outWidth <= 0 || bounds.outHeight <= 0) throw IOException("it is no picture")
        val options = BitmapFactory.Options()
        options.inSampleSize = 1
        while (maxOf(bounds.outWidth, bounds.outHeight) / options.inSampleSize > LONGEST) options.inSampleSize *= 2
        val bitmap = try {
            open().use { BitmapFactory.decodeStream(it, null, options) }
        } catch (error: OutOfMemoryError) {
            throw IOException("it does not fit into memory", error)
        } ?: throw IOException("it is damaged")
        return overWhite(upright(bitmap, open().use(::orientation)))
    }

    private fun orientation(stream: InputStream): Int = try {
        ExifInterface(stream).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)
    } catch (_: IOException) {
        ExifInterface.ORIENTATION_NORMAL
    }

    private fun upright(bitmap: Bitmap, orientation: Int): Bitmap {
        val matrix = Matrix()
        when (orientation) {
            ExifInterface.ORIENTATION_FLIP_HORIZONTAL -> matrix.postScale(-1f, 1f)
            ExifInterface.ORIENTATION_ROTATE_180 -> matrix.postRotate(180f)
            ExifInterface.ORIENTATION_FLIP_VERTICAL -> matrix.postScale(1f, -1f)
            ExifInterface.ORIENTATION_TRANSPOSE -> matrix.apply { postRotate(90f) }.postScale(-1f, 1f)
            ExifInterface.ORIENTATION_ROTATE_90 -> matrix.postRotate(90f)
            ExifInterface.ORIENTATION_TRANSVERSE -> matrix.apply { postRotate(270f) }.postScale(-1f, 1f)
            ExifInterface.ORIENTATION_ROTATE_270 -> matrix.postRotate(270f)
            else -> return bitmap
        }
        return Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, matrix, false)
    }

    /** Transparent pixels lie over white, as a page would show them. */
    private fun overWhite(bitmap: Bitmap): Bitmap {
        if (!bitmap.hasAlpha()) return bitmap
        val page = Bitmap.createBitmap(bitmap.width, bitmap.height, Bitmap.Config.ARGB_8888)
        Canvas(page).apply { drawColor(Color.WHITE) }.drawBitmap(bitmap, 0f, 0f, null)
        return page
    }
}
