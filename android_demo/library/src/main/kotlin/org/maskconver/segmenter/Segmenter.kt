package org.maskconver.segmenter

import android.content.Context
import android.graphics.Bitmap
import android.graphics.ImageFormat
import android.media.Image
import android.net.Uri
import java.io.Closeable
import java.io.File
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream

/**
 * A loaded model.
 *
 * Calls may come from several threads and wait for each other; with [Accelerator.GPU] they must come from the thread that made it.
 *
 * @param model a checked model file.
 * @param options how to run it.
 * @throws MaskConverException the runtime cannot load it.
 */
class Segmenter(model: ModelFile, options: Options = Options()) : Closeable {
    private val pipeline = Pipeline(model, options)
    private val upright = RgbImage()
    private var turned = IntArray(0)
    private var closed = false

    /** What the model file says of itself. */
    val card: ModelCard = model.card

    /** What does the work. */
    val accelerator: Accelerator get() = pipeline.graph.accelerator

    /** Why that is not what was asked for, or empty. */
    val fallbackReason: String get() = pipeline.graph.fallbackReason

    /**
     * Panoptic segmentation of a picture.
     *
     * @param rotationDegrees clockwise turn that makes the picture upright: 0, 90, 180 or 270.
     * @param reuse a result that is no longer needed; its map is written over.
     * @throws MaskConverException the picture is too large, or the runtime failed.
     */
    fun segment(bitmap: Bitmap, rotationDegrees: Int = 0, reuse: PanopticResult? = null): PanopticResult = run(reuse) {
        val readable = if (bitmap.config == Bitmap.Config.HARDWARE) bitmap.copy(Bitmap.Config.ARGB_8888, false) else bitmap
        val height = readable.height
        val width = readable.width
        val turn = Turn(rotationDegrees, height, width)
        it.resize(turn.upright.height, turn.upright.width)
        if (rotationDegrees == 0) {
            readable.getPixels(it.pixels, 0, width, 0, 0, width, height)
        } else {
            if (turned.size < height * width) turned = IntArray(height * width)
            readable.getPixels(turned, 0, width, 0, 0, width, height)
            turn.copy(turned, height, width, it.pixels)
        }
    }

    /**
     * Panoptic segmentation of a camera's picture, `YUV_420_888` with any strides; it is not closed.
     *
     * The parameters are those of the other `segment`.
     */
    fun segment(image: Image, rotationDegrees: Int = 0, reuse: PanopticResult? = null): PanopticResult {
        if (image.format != ImageFormat.YUV_420_888) throw MaskConverException("an image of format ${image.format}; expected YUV_420_888")
        val (y, u, v) = image.planes.map { Plane(it.buffer, it.rowStride, it.pixelStride) }
        val crop = image.cropRect
        return segment(YuvImage(y, u, v, crop.left, crop.top, crop.height(), crop.width()), rotationDegrees, reuse)
    }

    /** As for an [Image], for planes from elsewhere. */
    fun segment(image: YuvImage, rotationDegrees: Int = 0, reuse: PanopticResult? = null): PanopticResult =
        run(reuse) { image.toRgb(rotationDegrees, it) }

    /** As for a bitmap, for an upright image that took [decodeMs] milliseconds to read. */
    fun segment(image: RgbImage, decodeMs: Double = 0.0, reuse: PanopticResult? = null): PanopticResult = locked {
        pipeline.segment(image, decodeMs, reuse)
    }

    private fun run(reuse: PanopticResult?, decode: (RgbImage) -> Unit): PanopticResult = locked {
        val start = System.nanoTime()
        decode(upright)
        pipeline.segment(upright, (System.nanoTime() - start) / 1e6, reuse)
    }

    private fun locked(work: () -> PanopticResult): PanopticResult = synchronized(this) {
        check(!closed) { "this Segmenter is closed" }
        try {
            work()
        } catch (error: OutOfMemoryError) {
            throw MaskConverException("the picture does not fit into this phone's memory; make it smaller first", error)
        }
    }

    override fun close() = synchronized(this) {
        if (!closed) pipeline.close()
        closed = true
    }

    companion object {
        /** @throws MaskConverException the file is missing, no model of ours, damaged, or cannot be loaded. */
        fun fromFile(file: File, options: Options = Options()): Segmenter = Segmenter(ModelFiles.fromFile(file), options)

        /** As [fromFile], for an asset of the app. */
        fun fromAsset(context: Context, name: String, options: Options = Options()): Segmenter =
            Segmenter(ModelFiles.fromAsset(context, name), options)

        /** As [fromFile], for a document that the user chose. */
        fun fromUri(context: Context, uri: Uri, options: Options = Options()): Segmenter =
            Segmenter(ModelFiles.fromUri(context, uri), options)
    }
}

/** Model files from where Android keeps files. All throw [MaskConverException] where there is no model of ours. */
object ModelFiles {
    fun fromFile(file: File): ModelFile = open(file.path) { file.inputStream().use { ModelFile.read(it, file.path, file.length()) } }

    fun fromAsset(context: Context, name: String): ModelFile =
        open(name) { context.assets.open(name).use { ModelFile.read(it, name, it.available().toLong()) } }

    fun fromUri(context: Context, uri: Uri): ModelFile {
        val name = uri.lastPathSegment?.substringAfterLast('/') ?: uri.toString()
        return open(name) {
            val stream: InputStream = context.contentResolver.openInputStream(uri) ?: throw FileNotFoundException("nothing there")
            stream.use { ModelFile.read(it, name) }
        }
    }

    private fun open(name: String, work: () -> ModelFile): ModelFile = try {
        work()
    } catch (error: IOException) {
        throw MaskConverException("$name: cannot be opened (${error.message}); choose the file again", error)
    } catch (error: SecurityException) {
        throw MaskConverException("$name: may not be opened; choose the file again", error)
    }
}
