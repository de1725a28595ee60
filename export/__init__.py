"""A trained run in, one ``bear.onnx`` with its card out."""
