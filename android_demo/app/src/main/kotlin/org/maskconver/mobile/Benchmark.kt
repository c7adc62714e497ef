package org.maskconver.mobile

import android.content.Context
import java.io.File
import java.io.IOException
import org.json.JSONArray
import org.json.JSONObject
import org.maskconver.segmenter.Accelerator
import org.maskconver.segmenter.Graph
import org.maskconver.segmenter.MaskConverException
import org.maskconver.segmenter.ModelFile
import org.maskconver.segmenter.ModelFiles
import org.maskconver.segmenter.PanopticResult
import org.maskconver.segmenter.Segmenter

/**
 * Measures a model as a request says; every single timing is kept.
 *
 * @param folder where files go whose names begin with [run].
 */
class Benchmark(private val context: Context, private val request: BenchmarkRequest, private val folder: File, private val run: String) {
    private val phone = PhoneState(context)

    /** Adds to [report] what was found, as far as it goes. */
    fun measure(report: JSONObject) {
        report.put("options", request.toJson()).put("device", phone.device())
        report.put("runtime", JSONObject().put("name", "tflite").put("version", org.tensorflow.lite.TensorFlowLite.runtimeVersion()))
        val before = phone.memoryKib("VmRSS")
        val model = request.model?.let { ModelFiles.fromFile(File(it)) } ?: ModelFiles.fromAsset(context, ModelStore.BUNDLED)
        report.put("model", describe(model)).put("rss_before_load_kib", before).put("before", phone.state())
        Inputs(request.inputs, model.card).use { inputs ->
            timed(report, "load_cold_ms") { Graph(model, request.options) }.use { graph ->
                describe(graph, model, report)
                timed(report, "first_invoke_ms") { graph.run(inputs.first()) }
                time(graph, inputs, report)
                report.put("outputs", writeOutputs(graph, inputs))
            }
        }
        timed(report, "load_warm_ms") { Graph(model, request.options) }.close()
        report.put("stages_ms", if (request.profile) stages(model) else JSONObject())
        report.put("peak_rss_kib", phone.memoryKib("VmHWM")).put("after", phone.state())
    }

    private fun describe(model: ModelFile): JSONObject = model.card.let { card ->
        JSONObject().put("sha256", model.sha256).put("bytes", model.bytes).put("name", card.name)
            .put("level", card.level.name.lowercase()).put("target", card.target).put("recipe", card.recipe)
            .put("input_type", card.inputType.name.lowercase())
            .put("input_size", JSONArray(listOf(card.inputSize.height, card.inputSize.width))).put("half_precision", card.halfPrecision)
    }

    private fun describe(graph: Graph, model: ModelFile, report: JSONObject) {
        val allowed = request.halfPrecision
        val inUse = allowed && (graph.accelerator == Accelerator.GPU || model.card.halfPrecision && phone.hasFp16Arithmetic)
        report.put(
            "accelerator",
            JSONObject().put("asked", request.accelerator.name.lowercase()).put("used", graph.accelerator.name.lowercase())
                .put("reason", graph.fallbackReason),
        )
        report.put("half_precision", JSONObject().put("allowed", allowed).put("in_use", inUse))
    }

    /** Every input is taken equally often. */
    private fun time(graph: Graph, inputs: Inputs, report: JSONObject) {
        val warmup = JSONArray()
        val samples = JSONArray()
        report.put("warmup_ms", warmup).put("samples_ms", samples)
        repeat(request.warmup) { warmup.put(milliseconds { graph.run(inputs.buffer) }) }
        if (request.runs == 0) return
        val end = System.nanoTime() + (request.minSeconds * 1e9).toLong()
        while (samples.length() < request.runs || System.nanoTime() < end || samples.length() % inputs.count != 0) {
            inputs.read(samples.length() % inputs.count)
            samples.put(milliseconds { graph.run(inputs.buffer) })
        }
    }

    private fun stages(model: ModelFile): JSONObject = Segmenter(model, request.options).use { segmenter ->
        val image = request.image
        val open = { if (image == null) context.assets.open(ModelStore.PHOTO) else File(image).inputStream() }
        var result: PanopticResult? = null
        val stages = listOf("decode", "preprocess", "invoke", "merge").associateWith { JSONArray() }
        for (pass in -STAGE_WARMUP until request.runs.coerceIn(1, STAGE_RUNS)) {
            val decoding = System.nanoTime()
            val bitmap = Photos.read(open)
            val decoded = (System.nanoTime() - decoding) / 1e6
            val times = segmenter.segment(bitmap, 0, result).also { result = it }.timings
            if (pass < 0) continue
            listOf(decoded + times.decode, times.preprocess, times.invoke, times.merge).zip(stages.values) { time, all -> all.put(time) }
        }
        JSONObject(stages as Map<*, *>)
    }

    private fun writeOutputs(graph: Graph, inputs: Inputs): JSONArray {
        val all = JSONArray()
        for (index in request.inputs.indices) {
            inputs.read(index)
            graph.run(inputs.buffer)
            for ((name, buffer) in graph.outputs) {
                val file = File(folder, "$run.$index.$name.bin")
                val bytes = ByteArray(buffer.capacity()).also { buffer.duplicate().apply { rewind() }.get(it) }
                file.writeBytes(bytes)
                all.put(
                    JSONObject().put("input", index).put("name", name).put("dtype", graph.typeOf(name))
                        .put("shape", JSONArray(graph.shapeOf(name))).put("file", ResultFiles.shellPath(file)).put("bytes", bytes.size),
                )
            }
        }
        return all
    }

    private fun milliseconds(work: () -> Unit): Double {
        val start = System.nanoTime()
        work()
        return (System.nanoTime() - start) / 1e6
    }

    private fun <T> timed(report: JSONObject, key: String, work: () -> T): T {
        val start = System.nanoTime()
        return work().also { report.put(key, (System.nanoTime() - start) / 1e6) }
    }

    companion object {
        private const val STAGE_WARMUP = 2
        private const val STAGE_RUNS = 50

        /** What every report begins with. */
        fun header(context: Context, run: String): JSONObject {
            val version = AppVersion.of(context)
            val app = JSONObject().put("package", context.packageName).put("version_name", version.name).put("version_code", version.code)
            return JSONObject().put("schema", 1).put("contract", BenchmarkRequest.CONTRACT)
                .put("app", app).put("run", run).put("error", JSONObject.NULL)
        }

        /** The whole report: what was measured, or why not. It never throws. */
        fun report(context: Context, extras: android.os.Bundle, folder: File, run: String): JSONObject {
            val report = header(context, run)
            try {
                Benchmark(context, BenchmarkRequest.of(extras), folder, run).measure(report)
            } catch (error: MaskConverException) {
                report.put("error", error.message)
            } catch (error: IOException) {
                report.put("error", error.message ?: error.javaClass.simpleName)
            } catch (error: OutOfMemoryError) {
                report.put("error", "out of memory; use a smaller model")
            }
            return report
        }
    }
}
