"""ONNX files: read with bounds, described."""
