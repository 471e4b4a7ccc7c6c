"""Measures trained models and bundles on one part of a data set: `evaluate-model`."""
