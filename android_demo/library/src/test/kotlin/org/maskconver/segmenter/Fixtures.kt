package org.maskconver.segmenter

import java.io.File
import java.nio.ByteBuffer
import org.json.JSONObject

/** What Python wrote for these tests. */
object Fixtures {
    private val folder = File(System.getProperty("fixtures"))
    val repository: File = File(System.getProperty("repository")).parentFile
    val models: List<String> =
        JSONObject(file("facts.json").readText()).getJSONArray("models").let { all -> List(all.length(), all::getString) }

    fun file(name: String) = File(folder, name)

    fun arrays(name: String): Map<String, NpyArray> = Npz.read(file("$name.npz").readBytes())

    fun model(name: String): ModelFile = file("$name.tflite").let { file -> file.inputStream().use { ModelFile.read(it, file.name) } }

    /** A card with nothing special about it. */
    fun card(canvas: Size, inputType: InputType) = ModelCard(
        name = "test", level = Level.MASKS, target = "cpu", recipe = "float32", inputSize = canvas, inputType = inputType,
        mean = listOf(123.675f, 116.28f, 103.53f), std = listOf(58.395f, 57.12f, 57.375f), outputSize = canvas,
        numInstances = 1, numClasses = 1, objectMaskThreshold = 0.1, overlapThreshold = 0.5, smallAreaThreshold = 0.0,
        hardSigmoid = false, rescalePredictions = true, halfPrecision = false, categories = emptyList(), source = emptyMap(),
        tools = emptyMap(),
    )

    /** Loads the libraries that stand for Android's C library, so that the runtime's own can be loaded. */
    fun loadHostLibraries() {
        for (name in listOf("dl", "m", "log", "c")) System.load("${System.getProperty("host.library")}/lib$name.so")
    }
}

fun NpyArray.bytes() = ByteArray(data.remaining()).also { data.duplicate().get(it) }

/** Elements of an array of whole numbers. */
fun NpyArray.ints(): IntArray = when (type) {
    "<i4" -> IntArray(data.remaining() / 4).also { data.duplicate().order(data.order()).asIntBuffer().get(it) }
    "<i2" -> data.duplicate().order(data.order()).asShortBuffer().let { all -> IntArray(all.remaining()) { all.get(it).toInt() } }
    "|u1", "|b1" -> bytes().map { it.toInt() and 255 }.toIntArray()
    else -> throw IllegalArgumentException(type)
}

/** An image of RGB bytes [h, w, 3]. */
fun NpyArray.image() = RgbImage().also { image ->
    image.resize(shape[0], shape[1])
    val values = bytes()
    for (i in 0 until shape[0] * shape[1]) {
        image.pixels[i] = List(3) { values[3 * i + it].toInt() and 255 }.fold(0) { rgb, v -> rgb shl 8 or v }
    }
}

fun ByteBuffer.allBytes() = ByteArray(capacity()).also { duplicate().apply { rewind() }.get(it) }
