package org.maskconver.segmenter

/** What is wrong with a model, an image or a request: one line that names it and says what to do. */
class MaskConverException(message: String, cause: Throwable? = null) : Exception(message, cause)
