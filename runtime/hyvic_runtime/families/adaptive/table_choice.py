"""From what the network says of a coefficient to the frequency table that codes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive.contexts import PREDICTION_STEP_BITS

try:
    from hyvic_runtime.families.adaptive import _quantiser
except ImportError:  # the package was built without a C compiler
    _quantiser = None  # type: ignore[assignment]

SCALES = 64
MEAN_STEP_BITS = 3
FRACTIONS = 1 << MEAN_STEP_BITS
"""A mean is a whole number of quantiser steps, which shifts the symbol, and so many eighths, which have tables each."""
ESCAPE_OCTETS = 4
"""At fine steps the coefficients of bright components outgrow 16 bits."""
ROWS = FRACTIONS * SCALES
"""Row fraction · SCALES + scale index."""
GAIN_STEP_BITS = 4
MAX_GAIN = 1 << GAIN_STEP_BITS
MAX_MEAN_STEPS = 1023
"""Of what the network adds to the prediction."""
_SHIFT = GAIN_STEP_BITS + PREDICTION_STEP_BITS - MEAN_STEP_BITS

Integers = NDArray[np.integer[Any]]


def tables_and_offsets(
    scale_index: Integers, mean_steps: Integers, gain: Integers, prediction: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Which row of the tables codes a coefficient, and what is subtracted from it first; all of one shape.

    Args:
        scale_index: 0 … SCALES - 1.
        mean_steps: what is added to the prediction, in steps of 2**-MEAN_STEP_BITS, up to MAX_MEAN_STEPS either way.
        gain: how much of the prediction counts, 0 … MAX_GAIN, in steps of 2**-GAIN_STEP_BITS.
        prediction: integers, in steps of 2**-PREDICTION_STEP_BITS, less than 2**19 in magnitude.

    Raises:
        ValueError: a network's output is outside its range.
    """
    scale_index, mean_steps, gain = (np.ascontiguousarray(of, np.int32) for of in (scale_index, mean_steps, gain))
    if _quantiser is not None:
        rows, shifts = np.empty_like(scale_index), np.empty_like(scale_index)
        prediction = np.ascontiguousarray(prediction, np.float32)
        if _quantiser.tables_and_offsets(scale_index, mean_steps, gain, prediction, rows, shifts):
            return rows, shifts
    for (name, least, most), values in zip(RANGES, (scale_index, mean_steps, gain), strict=True):
        if not least <= values.min(initial=least) <= values.max(initial=least) <= most:
            raise ValueError(f"a {name} outside {least}..{most}")
    mean = mean_steps + ((gain * prediction.astype(np.int32) + (1 << (_SHIFT - 1))) >> _SHIFT)
    return (mean & (FRACTIONS - 1)) * SCALES + scale_index, mean >> MEAN_STEP_BITS


RANGES = (
    ("scale_index", 0, SCALES - 1),
    ("mean_steps", -MAX_MEAN_STEPS, MAX_MEAN_STEPS),
    ("gain", 0, MAX_GAIN),
)
"""Names of a network's outputs, the least and the most that they may be."""
