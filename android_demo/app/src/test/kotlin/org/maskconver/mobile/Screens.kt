package org.maskconver.mobile

import android.app.Activity
import android.graphics.Bitmap
import android.graphics.Canvas
import android.view.View
import java.io.File
import org.junit.Assert.assertTrue
import org.robolectric.shadows.ShadowLooper

/** What tests of screens need. */
object Screens {
    private val folder = File(System.getProperty("repository"), "target/screens").apply { mkdirs() }
    private var loaded = false

    /** Loads the libraries that stand for Android's C library, so that the runtime's own can be loaded. */
    fun loadHostLibraries() {
        if (loaded) return
        for (name in listOf("dl", "m", "log", "c")) System.load("${System.getProperty("host.library")}/lib$name.so")
        loaded = true
    }

    /** Waits until the model's thread and the main thread have nothing to do. */
    fun settle() = repeat(4) {
        Engine.await()
        ShadowLooper.idleMainLooper()
    }

    /** Draws a screen into a PNG; what is drawn is returned. */
    fun save(activity: Activity, name: String): Bitmap {
        val root: View = activity.window.decorView
        val bitmap = Bitmap.createBitmap(root.width, root.height, Bitmap.Config.ARGB_8888)
        root.draw(Canvas(bitmap))
        File(folder, "$name.png").outputStream().use { assertTrue(bitmap.compress(Bitmap.CompressFormat.PNG, 100, it)) }
        return bitmap
    }

    /** How many different colours there are in a picture. */
    fun colors(bitmap: Bitmap): Int {
        val pixels = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(pixels, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        return pixels.distinct().size
    }
}
