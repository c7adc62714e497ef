package org.maskconver.mobile

import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager
import android.os.SystemClock
import java.io.File
import java.io.IOException
import org.json.JSONObject

/** What the phone is, and how it does. What it does not tell is left out. */
class PhoneState(private val context: Context) {
    /** The processor has arithmetic in float16. */
    val hasFp16Arithmetic: Boolean by lazy {
        read("/proc/cpuinfo").lineSequence().any { it.startsWith("Features") && "asimdhp" in it.split(' ') }
    }

    fun device(): JSONObject {
        val emulated = listOf("goldfish", "ranchu").any { Build.HARDWARE.contains(it) } || Build.FINGERPRINT.startsWith("generic")
        val found = JSONObject().put("manufacturer", Build.MANUFACTURER).put("model", Build.MODEL).put("android", Build.VERSION.RELEASE)
            .put("sdk", Build.VERSION.SDK_INT).put("abi", Build.SUPPORTED_ABIS.firstOrNull()).put("emulated", emulated)
            .put("cores", Runtime.getRuntime().availableProcessors()).put("fp16_arithmetic", hasFp16Arithmetic)
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S && Build.SOC_MODEL != Build.UNKNOWN) found.put("soc", Build.SOC_MODEL)
        return found
    }

    /** Battery and heat. */
    fun state(): JSONObject {
        val found = JSONObject().put("uptime_ms", SystemClock.elapsedRealtime())
        val power = context.getSystemService(PowerManager::class.java)
        found.put("power_save", power.isPowerSaveMode)
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) found.put("thermal_status", power.currentThermalStatus)
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) {
            power.getThermalHeadroom(0).takeIf { it.isFinite() }?.let { found.put("thermal_headroom", it.toDouble()) }
        }
        val battery = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED)) ?: return found
        fun number(key: String) = battery.getIntExtra(key, -1).takeIf { it >= 0 }
        val (level, scale) = number(BatteryManager.EXTRA_LEVEL) to number(BatteryManager.EXTRA_SCALE)
        if (level != null && scale != null && scale > 0) found.put("battery_percent", 100 * level / scale)
        number(BatteryManager.EXTRA_TEMPERATURE)?.let { found.put("battery_celsius", it / 10.0) }
        number(BatteryManager.EXTRA_PLUGGED)?.let { found.put("charging", it != 0) }
        return found
    }

    /** A line of `/proc/self/status` such as `VmHWM`, or null. */
    fun memoryKib(key: String): Int? =
        read("/proc/self/status").lineSequence().firstOrNull { it.startsWith("$key:") }?.filter(Char::isDigit)?.toIntOrNull()

    private fun read(path: String): String = try {
        File(path).readText()
    } catch (_: IOException) {
        ""
    }
}
