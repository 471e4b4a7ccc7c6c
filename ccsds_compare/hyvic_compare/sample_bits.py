"""Bits that a sample of the original counts in a compression ratio: N_b of eq. 4 of the seed paper."""

from __future__ import annotations

BITS_PER_SAMPLE = 16
"""N_b of the ratios in this package for scenes of 16 bits, whose samples a sensor delivers so."""

FLOAT_BITS = 32
"""N_b of the group that wrote the seed paper: its autoencoders keep a share of float32 values of float32 input, and its
JPEG 2000 asks the coder of 16-bit samples for half the ratio that it reports (`jpeg2000.py` of its public code)."""


def ratio_at_bits(ratio: float, *, counted: int, wanted: int) -> float:
    """Return the ratio of the same stream when its original counts other bits a sample.

    The stream has N_b / CR bits a sample, whatever N_b its ratio counts.

    >>> ratio_at_bits(32, counted=32, wanted=16)
    16.0

    Args:
        ratio: compression ratio that counts `counted` bits a sample.
        counted: N_b of this ratio.
        wanted: N_b of the result.
    """
    return ratio * wanted / counted
