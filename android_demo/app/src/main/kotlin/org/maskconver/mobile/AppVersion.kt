package org.maskconver.mobile

import android.content.Context

/** Name and number of the app's version. */
class AppVersion(val name: String, val code: Int) {
    companion object {
        @Suppress("DEPRECATION") // The successors need Android 9 and 13.
        fun of(context: Context): AppVersion = context.packageManager.getPackageInfo(context.packageName, 0).let {
            AppVersion(it.versionName.orEmpty(), it.versionCode)
        }
    }
}
