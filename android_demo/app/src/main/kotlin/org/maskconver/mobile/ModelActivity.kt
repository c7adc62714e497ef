package org.maskconver.mobile

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.net.Uri
import android.os.Bundle
import android.view.View
import android.widget.Button
import android.widget.TextView
import android.widget.Toast
import org.maskconver.segmenter.Category
import org.maskconver.segmenter.ModelCard
import org.maskconver.segmenter.ModelFile

/** The card of the model in use, and the way to another one. */
class ModelActivity : Activity() {
    private val store by lazy { ModelStore(this) }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_model)
        findViewById<Button>(R.id.open).setOnClickListener { choose() }
        findViewById<Button>(R.id.use_demo).setOnClickListener {
            store.useBundled()
            showModel()
        }
        showModel()
    }

    @Suppress("DEPRECATION") // The successor is a part of androidx.
    private fun choose() = try {
        startActivityForResult(Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("*/*"), 1)
    } catch (_: ActivityNotFoundException) {
        Toast.makeText(this, R.string.nobody_answers, Toast.LENGTH_LONG).show()
    }

    @Deprecated("The successor is a part of androidx.")
    override fun onActivityResult(code: Int, result: Int, data: Intent?) {
        val chosen: Uri = data?.data?.takeIf { result == RESULT_OK } ?: return
        note(getString(R.string.loading))
        Engine.submit({ store.open(chosen) }, {
            note(getString(R.string.model_opened, store.name))
            showModel()
        }, ::note)
    }

    private fun note(text: String) {
        findViewById<TextView>(R.id.note).text = text
    }

    private fun showModel() {
        if (store.isBundled) note(getString(R.string.demo_weights))
        findViewById<View>(R.id.use_demo).visibility = if (store.isBundled) View.GONE else View.VISIBLE
        Engine.submit({ store.load().also { it.sha256 } }, { model ->
            findViewById<TextView>(R.id.name).text = getString(R.string.model_title, model.card.name, model.bytes / 1e6)
            findViewById<TextView>(R.id.card).text = lines(model).joinToString("\n") { (key, value) -> "${getString(key)}: $value" }
            findViewById<TextView>(R.id.labels).text = labels(model.card.categories)
        }, ::note)
    }

    private fun lines(model: ModelFile): List<Pair<Int, String>> {
        val card: ModelCard = model.card
        val half = getString(if (card.halfPrecision) R.string.yes else R.string.no)
        return listOf(
            R.string.card_level to card.level.name.lowercase(),
            R.string.card_size to "${card.inputSize.width} × ${card.inputSize.height}",
            R.string.card_input to card.inputType.name.lowercase(),
            R.string.card_recipe to "${card.recipe}, ${card.target}",
            R.string.card_half to half,
            R.string.card_proposals to "${card.numInstances}",
            R.string.card_thresholds to "${card.objectMaskThreshold}, ${card.overlapThreshold}, ${card.smallAreaThreshold.toInt()} px",
            R.string.card_source to card.source.entries.joinToString { "${it.key} ${it.value.take(SHORT)}" },
            R.string.card_tools to card.tools.entries.joinToString { "${it.key} ${it.value}" },
            R.string.card_hash to model.sha256,
        )
    }

    private fun labels(categories: List<Category>): String {
        val (things, stuff) = categories.partition { it.isThing }
        return listOf(R.string.things to things, R.string.stuff to stuff).joinToString("\n\n") { (title, some) ->
            "${getString(title)} (${some.size}): ${some.joinToString { it.name }}"
        }
    }

    private companion object {
        const val SHORT = 24
    }
}
