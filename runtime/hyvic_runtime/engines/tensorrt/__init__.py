"""Runs graphs that TensorRT or TensorRT-RTX compiled."""
