"""Torch-free runtime of a learned hyperspectral codec: scenes in, CCSDS packets out, and back."""
