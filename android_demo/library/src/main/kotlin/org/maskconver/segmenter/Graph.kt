package org.maskconver.segmenter

import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Delegate
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.gpu.CompatibilityList
import org.tensorflow.lite.gpu.GpuDelegate
import org.tensorflow.lite.gpu.GpuDelegateFactory

/** What computes a graph. */
enum class Accelerator { CPU, GPU }

/**
 * How to run a model.
 *
 * @property threads of the CPU kernels.
 * @property accelerator what is tried first; where the GPU fails the CPU does the work.
 * @property halfPrecision arithmetic in float16 is allowed where the model file and the processor permit it.
 */
data class Options(
    val threads: Int = minOf(4, Runtime.getRuntime().availableProcessors()),
    val accelerator: Accelerator = Accelerator.CPU,
    val halfPrecision: Boolean = true,
)

/**
 * A model's graph in TFLite. Not safe to use from several threads at once; with the GPU it must be run by the thread that made it.
 *
 * @throws MaskConverException the runtime cannot load it.
 */
class Graph(private val model: ModelFile, options: Options) : Closeable {
    private val content: ByteBuffer = model.content(options.halfPrecision).duplicate().order(ByteOrder.nativeOrder())
    private var delegate: GpuDelegate? = null
    private val interpreter: Interpreter

    /** What does the work. */
    val accelerator: Accelerator

    /** Why that is not what was asked for, or empty. */
    val fallbackReason: String

    /** The graph's outputs by name: int32 or float32 values as [run] leaves them. */
    val outputs: Map<String, ByteBuffer>

    private val outputsByPosition: Map<Int, Any>

    init {
        require(options.threads in 1..MAX_THREADS) { "${options.threads} threads" }
        var reason = ""
        var found: Interpreter? = null
        if (options.accelerator == Accelerator.GPU) {
            try {
                found = onGpu(options)
            } catch (error: RuntimeException) {
                reason = because(error)
            } catch (error: LinkageError) {
                reason = because(error)
            }
            if (found == null) closeDelegate()
        }
        accelerator = if (found == null) Accelerator.CPU else Accelerator.GPU
        fallbackReason = reason
        interpreter = found ?: onCpu(options)
        outputs = model.outputs.mapValues { (_, edge) -> direct(interpreter.getOutputTensor(edge.position).numBytes()) }
        outputsByPosition = model.outputs.entries.associate { (name, edge) -> edge.position to outputs.getValue(name) }
    }

    private fun onGpu(options: Options): Interpreter {
        val made = CompatibilityList().use { phones ->
            val best = if (phones.isDelegateSupportedOnThisDevice) phones.bestOptionsForThisDevice else GpuDelegateFactory.Options()
            GpuDelegate(best.setPrecisionLossAllowed(options.halfPrecision))
        }
        delegate = made
        return interpreter(options, made)
    }

    private fun onCpu(options: Options): Interpreter = try {
        interpreter(options, null)
    } catch (error: RuntimeException) {
        throw MaskConverException("${model.name}: the runtime cannot load it (${because(error)}); convert it again", error)
    } catch (error: LinkageError) {
        throw MaskConverException("the TFLite library does not fit this device (${because(error)})", error)
    }

    private fun interpreter(options: Options, delegate: Delegate?): Interpreter {
        val wanted = Interpreter.Options().setNumThreads(options.threads).setUseXNNPACK(delegate == null)
        if (delegate != null) wanted.addDelegate(delegate)
        val made = Interpreter(content, wanted)
        try {
            made.allocateTensors()
        } catch (error: RuntimeException) {
            made.close()
            throw error
        }
        return made
    }

    private fun direct(size: Int) = ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())

    /** Type of an output's values: `int32` or `float32`. */
    fun typeOf(output: String): String = if (model.outputs.getValue(output).type == ModelShape.INT32) "int32" else "float32"

    /** Lengths of an output's axes. */
    fun shapeOf(output: String): List<Int> = model.outputs.getValue(output).shape

    /**
     * Runs the graph on a direct buffer with the tensor `image`.
     *
     * @throws MaskConverException the runtime failed.
     */
    fun run(image: ByteBuffer) {
        image.rewind()
        outputs.values.forEach { it.rewind() }
        try {
            interpreter.runForMultipleInputsOutputs(arrayOf<Any>(image), outputsByPosition)
        } catch (error: RuntimeException) {
            val cure = if (accelerator == Accelerator.GPU) "use the CPU" else "convert it again"
            throw MaskConverException("${model.name}: the runtime failed (${because(error)}); $cure", error)
        }
        outputs.values.forEach { it.rewind() }
    }

    override fun close() {
        interpreter.close()
        closeDelegate()
    }

    private fun closeDelegate() {
        delegate?.close()
        delegate = null
    }

    private fun because(error: Throwable) = (error.message ?: error.javaClass.simpleName).lineSequence().first().take(200)

    companion object {
        const val MAX_THREADS = 64
    }
}
