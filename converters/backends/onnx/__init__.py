"""ONNX files: written node by node, and quantized."""
