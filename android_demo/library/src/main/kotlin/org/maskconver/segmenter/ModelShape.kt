package org.maskconver.segmenter

/** Compares the tensors of a graph with what its card says. */
internal object ModelShape {
    const val FLOAT32 = 0
    const val INT32 = 2
    const val UINT8 = 3

    /** @throws MaskConverException they differ. */
    fun check(name: String, card: ModelCard, inputs: Map<String, Edge>, outputs: Map<String, Edge>) {
        val image = listOf(1, card.inputSize.height, card.inputSize.width, 3)
        val type = if (card.inputType == InputType.UINT8) UINT8 else FLOAT32
        val fits = inputs.size == 1 && inputs["image"]?.let { it.shape == image && it.type == type } == true && fits(card, outputs)
        if (!fits) throw MaskConverException("$name: its tensors are not those of its card; convert it again")
    }

    private fun fits(card: ModelCard, outputs: Map<String, Edge>): Boolean {
        val count = listOf(1, card.numInstances)
        fun has(output: String, type: Int, shape: (List<Int>) -> Boolean): Boolean =
            outputs[output]?.let { it.type == type && it.shape.all { n -> n > 0 } && shape(it.shape) } == true

        fun proposals() = has("classes", INT32) { it == count } && has("scores", FLOAT32) { it == count }
        return when (card.level) {
            Level.MASKS -> proposals() && has("mask_logits", FLOAT32) { it.size == 4 && it[0] == 1 && it[3] == card.numInstances }
            Level.PANOPTIC -> proposals() && has("category_map", INT32) { it.size == 3 && it[0] == 1 } &&
                has("instance_map", INT32) { it == outputs.getValue("category_map").shape }
            Level.HEADS -> has("class_heatmap", FLOAT32) { it.size == 4 && it[0] == 1 } &&
                outputs.getValue("class_heatmap").shape.fold(1L, Long::times) >= card.numInstances &&
                has("mask_embedding_map", FLOAT32) { it.size == 4 && it.take(3) == outputs.getValue("class_heatmap").shape.take(3) } &&
                has("pixel_embeddings", FLOAT32) { it.size == 4 && it[0] == 1 && it[3] == outputs.getValue("mask_embedding_map").shape[3] }
        }
    }
}
