package org.maskconver.mobile

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.RectF
import android.text.TextPaint
import android.util.AttributeSet
import android.util.TypedValue
import android.view.View
import org.maskconver.segmenter.PanopticResult
import org.maskconver.segmenter.Segment

/**
 * A picture with its segments over it, as large as it fits.
 *
 * Picture and overlay are changed one by one: the picture is the newest, the overlay that of the newest result.
 */
class FrameView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private var picture: Bitmap? = null
    private var overlay: Bitmap? = null
    private var labels: List<Label> = emptyList()
    private val smooth = Paint(Paint.FILTER_BITMAP_FLAG)
    private val patch = Paint(Paint.ANTI_ALIAS_FLAG)
    private val text = TextPaint(Paint.ANTI_ALIAS_FLAG).apply { color = Color.WHITE }
    private val place = RectF()
    private val box = RectF()

    /** Left and right are changed: what a front camera's user expects. */
    var mirrored = false

    private class Label(val text: String, val color: Int, val x: Float, val y: Float)

    fun showPicture(bitmap: Bitmap) {
        picture = bitmap
        invalidate()
    }

    /** Shows a result as the settings say; the bitmap of the last one is drawn over. */
    fun showResult(result: PanopticResult, settings: Settings) {
        overlay = result.overlay(settings.opacity / 100f, overlay, settings::shows)
        val least = LABEL_AREA * result.height * result.width
        labels = result.segments.filter { settings.shows(it) && it.area > least }.map { label(it, result) }
        invalidate()
    }

    fun clearResult() {
        overlay = null
        labels = emptyList()
        invalidate()
    }

    private fun label(segment: Segment, result: PanopticResult): Label {
        val (x, y) = Anchor.of(result, segment)
        val text = "%s %.2f".format(segment.label, segment.score)
        return Label(text, result.colors.getValue(segment.id), (x + 0.5f) / result.width, (y + 0.5f) / result.height)
    }

    override fun onDraw(canvas: Canvas) {
        val shape = picture ?: overlay ?: return
        val scale = minOf(width.toFloat() / shape.width, height.toFloat() / shape.height)
        val (left, top) = (width - shape.width * scale) / 2 to (height - shape.height * scale) / 2
        place.set(left, top, left + shape.width * scale, top + shape.height * scale)
        canvas.save()
        if (mirrored) canvas.scale(-1f, 1f, place.centerX(), 0f)
        picture?.let { canvas.drawBitmap(it, null, place, smooth) }
        overlay?.let { canvas.drawBitmap(it, null, place, null) }
        canvas.restore()
        text.textSize = TypedValue.applyDimension(TypedValue.COMPLEX_UNIT_SP, LABEL_SP, resources.displayMetrics)
        val taken = ArrayList<RectF>(labels.size)
        for (label in labels) {
            placeLabel(label)
            if (taken.any { RectF.intersects(it, box) }) continue
            taken += RectF(box)
            drawLabel(canvas, label)
        }
    }

    private fun placeLabel(label: Label) {
        val size = text.textSize
        val half = text.measureText(label.text) / 2 + size / 3
        val across = if (mirrored) 1 - label.x else label.x
        val x = (place.left + across * place.width()).coerceIn(place.left + half, maxOf(place.left + half, place.right - half))
        val y = (place.top + label.y * place.height()).coerceIn(place.top + size, maxOf(place.top + size, place.bottom - size))
        box.set(x - half, y - size * 0.75f, x + half, y + size * 0.75f)
    }

    private fun drawLabel(canvas: Canvas, label: Label) {
        val size = text.textSize
        patch.color = Color.argb(190, Color.red(label.color) / 3, Color.green(label.color) / 3, Color.blue(label.color) / 3)
        canvas.drawRoundRect(box, size / 4, size / 4, patch)
        canvas.drawText(label.text, box.left + size / 3, box.centerY() + size * 0.35f, text)
    }

    private companion object {
        const val LABEL_SP = 13f

        /** Part of the picture that a segment needs for a label. */
        const val LABEL_AREA = 0.004f
    }
}
