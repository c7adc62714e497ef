package org.maskconver.mobile

import android.content.Context
import android.content.SharedPreferences
import org.maskconver.segmenter.Accelerator
import org.maskconver.segmenter.Options
import org.maskconver.segmenter.Segment

/** Which segments are drawn. */
enum class Shown { BOTH, THINGS, STUFF }

/** What the user chose; kept across restarts. */
class Settings(context: Context) {
    private val store: SharedPreferences = context.getSharedPreferences("settings", Context.MODE_PRIVATE)

    var threads: Int
        get() = store.getInt("threads", Options().threads).coerceIn(1, MAX_THREADS)
        set(value) = store.edit().putInt("threads", value).apply()

    var accelerator: Accelerator
        get() = if (store.getBoolean("gpu", false)) Accelerator.GPU else Accelerator.CPU
        set(value) = store.edit().putBoolean("gpu", value == Accelerator.GPU).apply()

    var halfPrecision: Boolean
        get() = store.getBoolean("half_precision", true)
        set(value) = store.edit().putBoolean("half_precision", value).apply()

    /** Of the colours, in per cent. */
    var opacity: Int
        get() = store.getInt("opacity", 50).coerceIn(0, 100)
        set(value) = store.edit().putInt("opacity", value).apply()

    var shown: Shown
        get() = Shown.values()[store.getInt("shown", 0).coerceIn(0, 2)]
        set(value) = store.edit().putInt("shown", value.ordinal).apply()

    /** In per cent. */
    var minimumScore: Int
        get() = store.getInt("minimum_score", 0).coerceIn(0, 100)
        set(value) = store.edit().putInt("minimum_score", value).apply()

    /** The front camera instead of the back one. */
    var frontCamera: Boolean
        get() = store.getBoolean("front_camera", false)
        set(value) = store.edit().putBoolean("front_camera", value).apply()

    val options: Options get() = Options(threads, accelerator, halfPrecision)

    fun shows(segment: Segment): Boolean {
        val kind = shown == Shown.BOTH || segment.isThing == (shown == Shown.THINGS)
        return kind && segment.score * 100 >= minimumScore
    }

    companion object {
        const val MAX_THREADS = 8
    }
}
