"""Bundles whose graphs are compiled by TensorRT."""
