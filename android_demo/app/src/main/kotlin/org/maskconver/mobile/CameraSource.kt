package org.maskconver.mobile

import android.annotation.SuppressLint
import android.content.Context
import android.graphics.ImageFormat
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.hardware.camera2.CaptureRequest
import android.media.Image
import android.media.ImageReader
import android.os.Handler
import android.os.HandlerThread
import android.os.Looper
import android.util.Size

/** Where the live view's frames come from. */
interface FrameSource {
    /** Clockwise turn of the sensor's pictures against the phone's natural upright. */
    val sensorDegrees: Int
    val isFront: Boolean
    val hasTorch: Boolean

    /** Starts a camera that faces as wished, or another one; false where there is none. The permission must be there. */
    fun start(front: Boolean): Boolean

    fun setTorch(on: Boolean)

    fun stop()
}

/**
 * Frames of a camera, the newest one only.
 *
 * @param onFrame gets each frame, on a thread of its own; it is closed afterwards.
 * @param onFailure is told on the main thread that the camera cannot be had.
 */
class CameraSource(context: Context, private val onFrame: (Image) -> Unit, private val onFailure: () -> Unit) :
    FrameSource {
    private val manager = context.getSystemService(CameraManager::class.java)
    private var thread: HandlerThread? = null
    private var reader: ImageReader? = null
    private var device: CameraDevice? = null
    private var session: CameraCaptureSession? = null
    private var opening: Opening? = null
    private var torchWanted = false

    override var sensorDegrees = 0
        private set
    override var isFront = false
        private set
    override var hasTorch = false
        private set

    @SuppressLint("MissingPermission")
    override fun start(front: Boolean): Boolean {
        stop()
        try {
            val id = choose(front) ?: return false
            val facts = manager.getCameraCharacteristics(id)
            sensorDegrees = facts.get(CameraCharacteristics.SENSOR_ORIENTATION) ?: 0
            isFront = facts.get(CameraCharacteristics.LENS_FACING) == CameraCharacteristics.LENS_FACING_FRONT
            hasTorch = facts.get(CameraCharacteristics.FLASH_INFO_AVAILABLE) == true
            val map = facts.get(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP)
            val sizes = map?.getOutputSizes(ImageFormat.YUV_420_888)
            val size = chooseSize(sizes.orEmpty().toList()) ?: return false
            val handler = HandlerThread("camera").also { thread = it }.apply { start() }.let { Handler(it.looper) }
            reader = ImageReader.newInstance(size.width, size.height, ImageFormat.YUV_420_888, 2).apply {
                setOnImageAvailableListener({ source -> source.acquireLatestImage()?.use(onFrame) }, handler)
            }
            manager.openCamera(id, Opening().also { opening = it }, Handler(Looper.getMainLooper()))
            return true
        } catch (_: CameraAccessException) {
            stop()
        } catch (_: IllegalArgumentException) {
            stop()
        } catch (_: SecurityException) {
            stop()
        }
        return false
    }

    private fun choose(front: Boolean): String? {
        val wanted = if (front) CameraCharacteristics.LENS_FACING_FRONT else CameraCharacteristics.LENS_FACING_BACK
        val all = manager.cameraIdList
        return all.firstOrNull { manager.getCameraCharacteristics(it).get(CameraCharacteristics.LENS_FACING) == wanted } ?: all.firstOrNull()
    }

    override fun setTorch(on: Boolean) {
        torchWanted = on
        val open = device ?: return
        val running = session ?: return
        orFail { repeatRequest(open, running) }
    }

    override fun stop() {
        opening = null
        session = null
        device?.close()
        device = null
        thread?.quitSafely()
        thread?.join()
        thread = null
        reader?.close()
        reader = null
    }

    private fun repeatRequest(open: CameraDevice, running: CameraCaptureSession) {
        val request = open.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW)
        request.addTarget((reader ?: return).surface)
        request.set(CaptureRequest.CONTROL_AF_MODE, CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_PICTURE)
        if (torchWanted && hasTorch) request.set(CaptureRequest.FLASH_MODE, CaptureRequest.FLASH_MODE_TORCH)
        running.setRepeatingRequest(request.build(), null, null)
    }

    /** What comes of opening a camera, unless it was stopped or another one was started meanwhile. */
    private inner class Opening : CameraDevice.StateCallback() {
        @Suppress("DEPRECATION") // The successor needs Android 9.
        override fun onOpened(camera: CameraDevice) {
            val surface = reader?.surface
            if (opening !== this || surface == null) return camera.close()
            device = camera
            orFail { camera.createCaptureSession(listOf(surface), Starting(this, camera), null) }
        }

        override fun onDisconnected(camera: CameraDevice) = end(camera)

        override fun onError(camera: CameraDevice, error: Int) = end(camera)

        private fun end(camera: CameraDevice) {
            camera.close()
            if (opening === this) onFailure()
        }
    }

    private inner class Starting(private val of: Opening, private val camera: CameraDevice) : CameraCaptureSession.StateCallback() {
        override fun onConfigured(configured: CameraCaptureSession) {
            if (opening !== of) return
            session = configured
            orFail { repeatRequest(camera, configured) }
        }

        override fun onConfigureFailed(configured: CameraCaptureSession) {
            if (opening === of) onFailure()
        }
    }

    private fun orFail(work: () -> Unit) = try {
        work()
    } catch (_: CameraAccessException) {
        onFailure()
    } catch (_: IllegalStateException) {
        onFailure()
    }

    companion object {
        /** Enough for a phone's screen; every frame is turned into RGB here. */
        private const val WANTED_PIXELS = 1280 * 960

        /** The largest size of at most 1280 x 960 pixels, or the smallest of all. */
        fun chooseSize(sizes: List<Size>): Size? =
            sizes.filter { it.width * it.height <= WANTED_PIXELS }.maxByOrNull { it.width * it.height }
                ?: sizes.minByOrNull { it.width * it.height }

        /** Clockwise turn that makes a frame upright on a screen that is turned by [screenDegrees]. */
        fun uprightDegrees(sensorDegrees: Int, screenDegrees: Int, front: Boolean): Int =
            (if (front) sensorDegrees + screenDegrees else sensorDegrees - screenDegrees + 360) % 360
    }
}
