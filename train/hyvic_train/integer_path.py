"""Rounding of the exported entropy path, for the exporter to build and for training to feel.

On board and on the ground D^H is an integer network. This module fixes what it rounds, and to which steps. The exporter
makes the integers (hyvic_export.families.latent.integer_network). Training may pass its values through the same
rounding with a straight-through gradient, so that the network learns to live with it.

Weights are rounded too, to eleven bits a row, and so is a slope of LeakyReLU that is no power of two: a hundred times
finer than the activations, so training leaves them alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

HIDDEN_MAX = 255
"""Largest hidden activation; eight bits and a sign leave the weights as many within a sum of 2**24."""
CALIBRATION_MARGIN = 1.25
"""Room above the largest activation seen on the training scenes before the clamp acts."""

SLOPE_BITS = 16
"""A slope of LeakyReLU that is no power of two is a multiple of 2**-16, the finest step that keeps products with it
below 2**24: they reach 255.5 · 2**16."""

MEAN_STEP_BITS = 4
"""Means are multiples of 2**-4 quantiser steps: 1/32 off at most, which costs (1/32)² / (6 σ² ln 2) bits
a symbol on average, 1e-3 at σ = 0.5."""

LATENT_MAX = 1023
"""Largest value of a latent where it predicts others. A model's rate levels share one step, and the lowest level needs
more of its range than eight bits leave."""

CORRECTION_MAX = 4 << MEAN_STEP_BITS
"""Largest argument of the predicted rest's ½ tanh, in steps of 2**-MEAN_STEP_BITS; beyond, it is level."""

SCALE_BOUND = 0.11
"""Smallest standard deviation in quantiser steps (CompressAI's and Ballé et al.'s; below it a symbol is free)."""
MAX_SCALE = 256.0
SCALE_COUNT = 64
LOG2_MIN_SCALE = math.log2(SCALE_BOUND)
LOG2_SCALE_STEP = (math.log2(MAX_SCALE) - LOG2_MIN_SCALE) / (SCALE_COUNT - 1)

SCALE_STEP_BITS = 6
"""A model that gives σ itself gives it in steps of 2**-6 quantiser steps; a lookup turns them into scale indices."""
MAX_SCALE_STEPS = int(MAX_SCALE) << SCALE_STEP_BITS


def hidden_step(peak: Tensor) -> Tensor:
    """Return the value of one integer step of each hidden channel, given the largest magnitudes it reached.

    A channel that stayed silent gets the smallest step of its layer: it may speak on another scene, and its clamp
    is the safe side.
    """
    loudest = peak.max()
    smallest = torch.where(peak > 0, peak, loudest).min()
    return CALIBRATION_MARGIN * torch.maximum(peak, smallest) / HIDDEN_MAX


@torch.no_grad()
def raise_peak(peak: Tensor, hidden: Tensor) -> None:
    """Raise (channel,) peaks to the magnitudes that activations reach, in the batch of all processes together."""
    reached = hidden.abs().amax(dim=(0, 2, 3)).to(peak.dtype)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(reached, op=torch.distributed.ReduceOp.MAX)
    torch.maximum(peak, reached, out=peak)


def rounded_hidden(hidden: Tensor, step: Tensor) -> Tensor:
    """Round hidden activations as the integer network holds them."""
    return straight_through(hidden, torch.clamp(torch.round(hidden / step), -HIDDEN_MAX, HIDDEN_MAX) * step)


def rounded_log2_scale(log2_scale: Tensor) -> Tensor:
    """Return the log2 σ of the nearest row of the scale table."""
    index = torch.round((log2_scale - LOG2_MIN_SCALE) / LOG2_SCALE_STEP).clamp(0, SCALE_COUNT - 1)
    return straight_through(log2_scale, LOG2_MIN_SCALE + LOG2_SCALE_STEP * index)


def rounded_scale(scale: Tensor) -> Tensor:
    """Return the σ of the row of the scale table that the lookup finds for σ in steps of 2**-SCALE_STEP_BITS."""
    steps = torch.round(scale * 2**SCALE_STEP_BITS) * 2.0**-SCALE_STEP_BITS
    row = rounded_log2_scale(steps.clamp(SCALE_BOUND, MAX_SCALE).log2())
    return straight_through(scale, torch.exp2(row))


def rounded_mean(mean: Tensor) -> Tensor:
    """Round means to steps of 2**-MEAN_STEP_BITS."""
    return straight_through(mean, torch.round(mean * 2**MEAN_STEP_BITS) * 2.0**-MEAN_STEP_BITS)


def latent_step(peak: Tensor) -> Tensor:
    """Return the value of one integer step of latents that predict others, given the largest magnitudes they reached.

    Latents are multiples of 2**-MEAN_STEP_BITS, so a coarser power of two is a shift.
    """
    wanted = CALIBRATION_MARGIN * peak / LATENT_MAX
    return torch.exp2(torch.ceil(torch.log2(wanted.clamp_min(2.0**-MEAN_STEP_BITS))))


def rounded_latent(latent: Tensor, step: Tensor) -> Tensor:
    """Round latents as the integer network holds them where they predict others."""
    return straight_through(latent, torch.clamp(torch.round(latent / step), -LATENT_MAX, LATENT_MAX) * step)


def rounded_correction(argument: Tensor) -> Tensor:
    """Return ½ tanh in steps of the means, by a table over arguments in the same steps."""
    step = 2.0**-MEAN_STEP_BITS
    row = torch.round(argument / step).clamp(-CORRECTION_MAX, CORRECTION_MAX) * step
    return straight_through(0.5 * torch.tanh(argument), torch.round(0.5 * torch.tanh(row) / step) * step)


def straight_through(value: Tensor, rounded: Tensor) -> Tensor:
    """Return the rounded value with the gradient of the value itself (Bengio et al., 2013)."""
    return value + (rounded - value).detach()
