package org.maskconver.segmenter

import android.graphics.Bitmap
import android.graphics.Color
import org.json.JSONArray
import org.json.JSONObject

/** Left, top, width and height in pixels. */
data class Box(val x: Int, val y: Int, val width: Int, val height: Int)

/**
 * One thing, or all stuff of one class.
 *
 * @property id its value in the panoptic map.
 * @property categoryId its class in the label set.
 * @property label the class's name.
 * @property isThing whether it is one countable object.
 * @property score of its proposal, 0..1; for stuff the best of its class.
 * @property area in pixels.
 * @property box around it.
 */
data class Segment(
    val id: Int,
    val categoryId: Int,
    val label: String,
    val isThing: Boolean,
    val score: Float,
    val area: Int,
    val box: Box,
)

/** How long each stage took, in milliseconds: image to RGB, RGB to tensor, the graph, tensors to segments. */
data class Timings(val decode: Double, val preprocess: Double, val invoke: Double, val merge: Double) {
    val total: Double get() = decode + preprocess + invoke + merge
}

/**
 * A panoptic segmentation.
 *
 * @property height of the upright image.
 * @property width of the upright image.
 * @property panopticMap segment ids in rows, 0 for void; at least `height * width` of them, as a map that is used again may be
 *   longer.
 * @property segments best score first.
 * @property categories the model's label set.
 * @property timings how long each stage took.
 */
class PanopticResult internal constructor(
    val height: Int,
    val width: Int,
    val panopticMap: IntArray,
    val segments: List<Segment>,
    val categories: List<Category>,
    val timings: Timings,
) {
    /** 0xRRGGBB by segment id: the category's colour for its first segment, and variations of it for the others. */
    val colors: Map<Int, Int> by lazy { SegmentColors.of(segments, categories) }

    /**
     * Where a segment is, `height * width` flags in rows.
     *
     * @throws MaskConverException there is no such segment.
     */
    fun mask(segmentId: Int): BooleanArray {
        if (segments.none { it.id == segmentId }) {
            throw MaskConverException("no segment $segmentId; the ids are ${segments.map { it.id }.sorted().joinToString()}")
        }
        return BooleanArray(height * width) { panopticMap[it] == segmentId }
    }

    /**
     * Colours and outlines of segments on a transparent ground, to be drawn over the image.
     *
     * @param opacity of the colours, 0..1.
     * @param reuse a bitmap of this result's size to draw into.
     * @param shown which segments are drawn.
     */
    fun overlay(opacity: Float = 0.5f, reuse: Bitmap? = null, shown: (Segment) -> Boolean = { true }): Bitmap {
        val fits = reuse != null && reuse.isMutable && reuse.width == width && reuse.height == height
        val bitmap = if (fits) reuse else Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888)
        val table = IntArray((segments.maxOfOrNull { it.id } ?: 0) + 1)
        val alpha = (opacity * 255 + 0.5f).toInt().coerceIn(0, 255) shl 24
        for (segment in segments) if (shown(segment)) table[segment.id] = alpha or colors.getValue(segment.id)
        val line = IntArray(width)
        for (row in 0 until height) {
            overlayLine(row, table, line)
            bitmap.setPixels(line, 0, width, 0, row, width, 1)
        }
        return bitmap
    }

    private fun overlayLine(row: Int, table: IntArray, line: IntArray) {
        val start = row * width
        for (column in 0 until width) {
            val id = panopticMap[start + column]
            val isEdge = column > 0 && panopticMap[start + column - 1] != id || row > 0 && panopticMap[start + column - width] != id
            line[column] = if (isEdge && table[id] != 0) Color.WHITE else table[id]
        }
    }

    /**
     * The official COCO panoptic format (https://cocodataset.org/#format-data).
     *
     * @return the PNG's picture, whose pixels are id = R + 256 G + 256^2 B; and the entry for "annotations".
     */
    fun toCoco(imageId: Int, fileName: String): Pair<Bitmap, JSONObject> {
        val bitmap = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888)
        val line = IntArray(width)
        for (row in 0 until height) {
            for (column in 0 until width) {
                val id = panopticMap[row * width + column]
                line[column] = Color.rgb(id and 255, id shr 8 and 255, id shr 16 and 255)
            }
            bitmap.setPixels(line, 0, width, 0, row, width, 1)
        }
        val infos = JSONArray()
        for (s in segments) {
            val box = JSONArray(listOf(s.box.x, s.box.y, s.box.width, s.box.height))
            infos.put(JSONObject().put("id", s.id).put("category_id", s.categoryId).put("area", s.area).put("bbox", box).put("iscrowd", 0))
        }
        return bitmap to JSONObject().put("image_id", imageId).put("file_name", fileName).put("segments_info", infos)
    }
}
