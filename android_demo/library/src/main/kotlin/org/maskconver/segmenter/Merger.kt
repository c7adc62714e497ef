package org.maskconver.segmenter

import kotlin.math.max

/**
 * How proposals become segments.
 *
 * @property rescale merge at the image's size; else on the canvas as it is.
 * @property things whether a class's proposals stay apart, by class id; those of every other class melt into one.
 */
internal class MergeRule(
    val objectMaskThreshold: Double,
    val overlapThreshold: Double,
    val smallAreaThreshold: Double,
    val outputSize: Size,
    val hardSigmoid: Boolean,
    val things: BooleanArray,
    val rescale: Boolean = true,
) {
    companion object {
        /** Things come before stuff in class ids, so an id without a category counts as a thing below the last thing's id. */
        fun of(card: ModelCard): MergeRule {
            val last = card.categories.filter { it.isThing }.maxOfOrNull { it.id } ?: 0
            val things = BooleanArray(last + 1) { it > 0 }
            for (category in card.categories) if (!category.isThing && category.id <= last) things[category.id] = false
            return MergeRule(
                card.objectMaskThreshold, card.overlapThreshold, card.smallAreaThreshold, card.outputSize, card.hardSigmoid, things,
                card.rescalePredictions,
            )
        }
    }
}

/**
 * The panoptic merge of scored mask logits. Buffers are kept from call to call.
 *
 * After [merge], [ids] [h, w] of [size] (the image's, or where the rule says so the masks' or the canvas') are ranks of proposals by score, for each of which there are a category (0 for void) and
 * an instance (1 + the rank for things, 0 for all else).
 */
internal class Merger(private val rule: MergeRule, private val masks: Size, private val count: Int) {
    private val tiled = TiledMasks()
    private val order = IntArray(count)
    private val scores = FloatArray(count)
    private val areas = IntArray(count)
    private val kept = BooleanArray(count)

    /** How many proposals take part. */
    var ranks = 0
        private set
    val categories = IntArray(count)
    val instances = IntArray(count)
    var ids = IntArray(0)
        private set
    var size = masks
        private set

    /**
     * Merges proposals: [logits] [h, w, K], [allScores] and [classes] [K] in any order. The image lies on the canvas as
     * [letterbox] says, or fills it.
     */
    fun merge(logits: FloatArray, allScores: FloatArray, classes: IntArray, letterbox: Letterbox?) {
        sort(allScores)
        if (rule.hardSigmoid) hard(logits) else soft(logits, letterbox.takeIf { rule.rescale })
        for (rank in 0 until ranks) {
            val category = if (kept[rank]) classes[order[rank]] else 0
            categories[rank] = category
            instances[rank] = if (category in rule.things.indices && rule.things[category]) rank + 1 else 0
        }
    }

    private fun sort(allScores: FloatArray) {
        ranks = 0
        val threshold = rule.objectMaskThreshold.toFloat()
        for (k in 0 until count) {
            if (!(allScores[k] > threshold)) continue
            var at = ranks++
            while (at > 0 && scores[at - 1] < allScores[k]) {
                scores[at] = scores[at - 1]
                order[at] = order[at - 1]
                at--
            }
            scores[at] = allScores[k]
            order[at] = k
        }
    }

    private fun resize(to: Size) {
        size = to
        if (ids.size < to.height * to.width) ids = IntArray(to.height * to.width)
    }

    private fun soft(logits: FloatArray, letterbox: Letterbox?) {
        val canvas = letterbox?.let { Size(max(rule.outputSize.height, it.image.height), max(rule.outputSize.width, it.image.width)) }
            ?: rule.outputSize
        resize(letterbox?.image ?: canvas)
        if (ranks == 0) return ids.fill(NONE, 0, size.height * size.width)
        tiled.set(logits, masks, count, order, ranks, letterbox?.extent ?: canvas, size)
        tiled.winners(scores, ids, areas)
        // Around the image all masks are 0.5, so the best score wins there.
        areas[0] += canvas.height * canvas.width - size.height * size.width
        for (rank in 0 until ranks) {
            kept[rank] = areas[rank] > rule.smallAreaThreshold && winsEnough(rank)
        }
    }

    /** Whether a proposal wins enough of its own mask, whose exact area is counted only where bounds do not tell. */
    private fun winsEnough(rank: Int): Boolean {
        val bounds = tiled.areaBounds(rank)
        val least = (bounds shr 32).toInt()
        val most = bounds.toInt()
        return when {
            least > 0 && isEnough(rank, most) -> true
            most > 0 && isEnough(rank, max(least, 1)) -> tiled.area(rank).let { it > 0 && isEnough(rank, it) }
            else -> false
        }
    }

    private fun isEnough(rank: Int, ownArea: Int) = areas[rank] > rule.overlapThreshold * ownArea

    /** At the masks' own size, with relu6(logit + 3) * 0.16667 for the sigmoid. */
    private fun hard(logits: FloatArray) {
        resize(masks)
        areas.fill(0)
        val own = IntArray(count)
        for (pixel in 0 until masks.height * masks.width) {
            var winner = 0
            var best = Float.NEGATIVE_INFINITY
            for (rank in 0 until ranks) {
                val mask = (logits[pixel * count + order[rank]] + 3f).coerceIn(0f, 6f) * 0.16667f
                if (mask > 0.5f) own[rank]++
                if (mask * scores[rank] > best) {
                    best = mask * scores[rank]
                    winner = rank
                }
            }
            ids[pixel] = if (ranks == 0) NONE else winner
            if (ranks > 0) areas[winner]++
        }
        for (rank in 0 until ranks) kept[rank] = areas[rank] > rule.smallAreaThreshold && own[rank] > 0 && isEnough(rank, own[rank])
    }

    companion object {
        /** Stands in [ids] where there is no proposal at all. */
        const val NONE = -1
    }
}
