"""The frequency table that codes a coefficient, chosen by the context network's outputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive.planes import Integers, Planes
from hyvic_runtime.families.adaptive.prediction import PREDICTION_STEP_BITS

SCALES = 64
MEAN_STEP_BITS = 3
FRACTIONS = 1 << MEAN_STEP_BITS
"""A mean is a whole number of quantiser steps, the offset, and a number of eighths, each of which has its tables."""
ESCAPE_OCTETS = 4
"""Octets of an escaped value: at fine steps the coefficients of bright components outgrow 16 bits."""
ROWS = FRACTIONS * SCALES
"""Number of tables; table fraction · SCALES + scale index."""
GAIN_STEP_BITS = 4
MAX_GAIN = 1 << GAIN_STEP_BITS
MAX_MEAN_STEPS = 1023
"""Largest magnitude of the number that the network adds to the prediction."""
_SHIFT = GAIN_STEP_BITS + PREDICTION_STEP_BITS - MEAN_STEP_BITS


def tables_and_offsets(
    scale_index: Integers, mean_steps: Integers, gain: Integers, prediction: Planes
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Choose the table of each coefficient, and the offset that is subtracted from it; all arrays of one shape.

    Args:
        scale_index: 0 … SCALES - 1.
        mean_steps: added to the prediction, in steps of 2**-MEAN_STEP_BITS, within ±MAX_MEAN_STEPS.
        gain: share of the prediction that counts, 0 … MAX_GAIN, in steps of 2**-GAIN_STEP_BITS.
        prediction: integers in steps of 2**-PREDICTION_STEP_BITS, less than 2**19 in magnitude.

    Raises:
        ValueError: a network's output is outside its range.
    """
    check_outputs(scale_index, mean_steps, gain)
    scale_index, mean_steps, gain = (of.astype(np.int32) for of in (scale_index, mean_steps, gain))
    mean = mean_steps + ((gain * prediction.astype(np.int32) + (1 << (_SHIFT - 1))) >> _SHIFT)
    return (mean & (FRACTIONS - 1)) * SCALES + scale_index, mean >> MEAN_STEP_BITS


def check_outputs(scale_index: Integers, mean_steps: Integers, gain: Integers) -> None:
    """Refuse outputs that no valid network gives.

    Raises:
        ValueError: an output is outside its range.
    """
    for (name, least, most), values in zip(RANGES, (scale_index, mean_steps, gain), strict=True):
        if not least <= values.min(initial=least) <= values.max(initial=least) <= most:
            raise ValueError(f"a {name} outside {least}..{most}")


RANGES = (
    ("scale_index", 0, SCALES - 1),
    ("mean_steps", -MAX_MEAN_STEPS, MAX_MEAN_STEPS),
    ("gain", 0, MAX_GAIN),
)
"""Name, least and greatest value of each output of a network."""
