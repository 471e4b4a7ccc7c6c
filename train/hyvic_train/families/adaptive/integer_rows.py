"""Rounding of the exported context model, for the exporter to build and for training to feel.

`hyvic_runtime.families.adaptive.table_choice` has the use of the network's three integers.
"""

from __future__ import annotations

import torch
from hyvic_runtime.families.adaptive.prediction import PREDICTION_STEP_BITS
from hyvic_runtime.families.adaptive.table_choice import GAIN_STEP_BITS, MAX_MEAN_STEPS, MEAN_STEP_BITS, SCALES
from torch import Tensor

from hyvic_train.integer_path import straight_through

CONTEXT_STEP = 2.0**-6
"""Value of one integer step of a context where it enters the network."""

LOG2_MIN_SCALE, LOG2_MAX_SCALE = -4.5, 9.0
"""Log2 scales of the logistic distributions, in quantiser steps. The smallest leaves a zero alone likely, the largest a
coefficient of ten bits."""
LOG2_SCALE_STEP = (LOG2_MAX_SCALE - LOG2_MIN_SCALE) / (SCALES - 1)


def rounded_log2_scale(log2_scale: Tensor) -> Tensor:
    """Return the log2 scale of the nearest row of the tables."""
    index = torch.round((log2_scale - LOG2_MIN_SCALE) / LOG2_SCALE_STEP).clamp(0, SCALES - 1)
    return straight_through(log2_scale, LOG2_MIN_SCALE + LOG2_SCALE_STEP * index)


def rounded_mean(mean: Tensor, gain: Tensor, prediction: Tensor) -> Tensor:
    """Add mean and weighted prediction as `tables_and_offsets` does.

    Args:
        mean: term beside the prediction, in quantiser steps.
        gain: fraction of the prediction that counts, 0 … 1.
        prediction: in steps of 2**-PREDICTION_STEP_BITS.
    """
    mean_steps = torch.round(mean * 2**MEAN_STEP_BITS).clamp(-MAX_MEAN_STEPS, MAX_MEAN_STEPS)
    product = torch.round(gain * 2**GAIN_STEP_BITS) * prediction
    finer = 2.0 ** (MEAN_STEP_BITS - GAIN_STEP_BITS - PREDICTION_STEP_BITS)
    steps = mean_steps + torch.floor(product * finer + 0.5)
    return straight_through(predicted_mean(mean, gain, prediction), steps * 2.0**-MEAN_STEP_BITS)


def predicted_mean(mean: Tensor, gain: Tensor, prediction: Tensor) -> Tensor:
    """Return `rounded_mean` before it is rounded."""
    return mean + gain * prediction * 2.0**-PREDICTION_STEP_BITS
