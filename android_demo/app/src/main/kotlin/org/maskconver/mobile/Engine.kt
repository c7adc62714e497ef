package org.maskconver.mobile

import android.content.Context
import android.os.Handler
import android.os.Looper
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import org.maskconver.segmenter.MaskConverException
import org.maskconver.segmenter.Options
import org.maskconver.segmenter.Segmenter

/** The one thread that runs models, and the one model that is loaded there. */
object Engine {
    private val thread: ExecutorService = Executors.newSingleThreadExecutor { Thread(it, "segmenter") }
    private val main = Handler(Looper.getMainLooper())
    private var loaded: Segmenter? = null
    private var key: Pair<String, Options>? = null

    /**
     * Does [work] with the model in use on the thread of models; [done] or [failed] with one line follow on the main thread.
     *
     * The model is loaded anew where it or the settings changed.
     */
    fun <T> submit(context: Context, work: (Segmenter) -> T, done: (T) -> Unit, failed: (String) -> Unit) {
        val application = context.applicationContext
        submit({ work(segmenter(application)) }, done, failed)
    }

    /** As for a model, for work with its file. */
    fun <T> submit(work: () -> T, done: (T) -> Unit, failed: (String) -> Unit) = thread.execute {
        try {
            val result = work()
            main.post { done(result) }
        } catch (error: MaskConverException) {
            main.post { failed(error.message.orEmpty()) }
        }
    }

    /** Waits until everything that was submitted is done. */
    fun await() {
        thread.submit {}.get()
    }

    private fun segmenter(context: Context): Segmenter {
        val store = ModelStore(context)
        val wanted = store.stamp to Settings(context).options
        loaded?.let { if (wanted == key) return it }
        loaded?.close()
        loaded = null
        return Segmenter(store.load(), wanted.second).also {
            loaded = it
            key = wanted
        }
    }
}
