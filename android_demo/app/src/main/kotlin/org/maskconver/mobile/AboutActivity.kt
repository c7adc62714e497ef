package org.maskconver.mobile

import android.app.Activity
import android.os.Bundle
import android.widget.TextView

/** What the app is, what it does with data, and its licences. */
class AboutActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_text)
        val licence = assets.open("apache-2.0.txt").use { it.readBytes().toString(Charsets.UTF_8) }
        findViewById<TextView>(R.id.text).text = getString(R.string.about_text, AppVersion.of(this).name) + "\n\n" + licence
    }
}
