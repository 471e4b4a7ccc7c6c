"""Runs ONNX graphs and compiled graphs: one small class for each library."""
