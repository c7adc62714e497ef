"""TFLite files: written by TensorFlow's converter, finished and quantized here."""
