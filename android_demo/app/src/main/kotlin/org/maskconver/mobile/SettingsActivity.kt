package org.maskconver.mobile

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.widget.Button
import android.widget.RadioGroup
import android.widget.SeekBar
import android.widget.Switch
import android.widget.TextView
import org.maskconver.segmenter.Accelerator

/** What the user can choose; every change counts at once. */
class SettingsActivity : Activity() {
    private val settings by lazy { Settings(this) }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_settings)
        slider(R.id.threads, R.id.threads_label, R.string.threads, 1..Settings.MAX_THREADS, settings.threads) { settings.threads = it }
        slider(R.id.opacity, R.id.opacity_label, R.string.opacity, 0..100, settings.opacity) { settings.opacity = it }
        slider(R.id.minimum_score, R.id.minimum_score_label, R.string.minimum_score, 0..100, settings.minimumScore) {
            settings.minimumScore = it
        }
        choice(R.id.accelerator, listOf(R.id.cpu, R.id.gpu), settings.accelerator.ordinal) {
            settings.accelerator = Accelerator.values()[it]
        }
        choice(R.id.show, listOf(R.id.both, R.id.things, R.id.stuff), settings.shown.ordinal) { settings.shown = Shown.values()[it] }
        findViewById<Switch>(R.id.half_precision).apply {
            isChecked = settings.halfPrecision
            setOnCheckedChangeListener { _, on -> settings.halfPrecision = on }
        }
        findViewById<Button>(R.id.about).setOnClickListener { startActivity(Intent(this, AboutActivity::class.java)) }
    }

    private fun slider(id: Int, labelId: Int, text: Int, range: IntRange, value: Int, change: (Int) -> Unit) {
        val label = findViewById<TextView>(labelId)
        label.text = getString(text, value)
        findViewById<SeekBar>(id).apply {
            max = range.last - range.first
            progress = value - range.first
            setOnSeekBarChangeListener(object : SeekBar.OnSeekBarChangeListener {
                override fun onProgressChanged(bar: SeekBar, progress: Int, fromUser: Boolean) {
                    change(progress + range.first)
                    label.text = getString(text, progress + range.first)
                }

                override fun onStartTrackingTouch(bar: SeekBar) = Unit

                override fun onStopTrackingTouch(bar: SeekBar) = Unit
            })
        }
    }

    private fun choice(id: Int, buttons: List<Int>, chosen: Int, change: (Int) -> Unit) {
        findViewById<RadioGroup>(id).apply {
            check(buttons[chosen])
            setOnCheckedChangeListener { _, button -> change(buttons.indexOf(button)) }
        }
    }
}
