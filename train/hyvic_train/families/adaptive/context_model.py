"""The context model: the distribution of a wavelet coefficient, given its contexts.

    contexts ─▶ 1×1, LeakyReLU ─▶ … ─▶ 1×1 ─▶ log2 s, mean, gain
                                                 μ = mean + gain · prediction

A coefficient is distributed as a mixture of two logistics about μ, of scales s and s · 2^ratio, integrated over its
quantiser step. Weight and ratio depend on s alone: curves learned at KNOTS values of log2 s, straight between, so that
a row of frequency tables for every s, and every fraction of μ, is all that coding needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from hyvic_runtime.families.adaptive.contexts import CONTEXTS
from hyvic_runtime.families.adaptive.table_choice import FRACTIONS
from torch import Tensor, nn

from hyvic_train.entropy_path_layer import Arithmetic, EntropyPathLayer
from hyvic_train.families.adaptive.config import AdaptiveConfig
from hyvic_train.families.adaptive.integer_rows import (
    CONTEXT_STEP,
    LOG2_MAX_SCALE,
    LOG2_MIN_SCALE,
    LOG2_SCALE_STEP,
    predicted_mean,
    rounded_log2_scale,
    rounded_mean,
)

KNOTS = 16
LEAST_LOG2_RATIO = 0.3
LEAST_PROBABILITY = 2.0**-24
"""Probability of an escape, about: no coefficient costs more in training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions:
    """Distributions of coefficients; all of one shape.

    Attributes:
        mean: μ, in quantiser steps.
        log2_scale: log2 s of the narrower logistic.
    """

    mean: Tensor
    log2_scale: Tensor


class ContextModel(nn.Module):
    """The network and the curves; see the module."""

    def __init__(self, config: AdaptiveConfig) -> None:
        super().__init__()
        self.config = config
        self.arithmetic = Arithmetic.REAL
        widths = [CONTEXTS] + [config.width] * config.layers
        slope = 2.0**-config.leaky_slope_bits
        self.hidden = nn.ModuleList(
            EntropyPathLayer(nn.Conv2d(inputs, outputs, 1), slope) for inputs, outputs in pairwise(widths)
        )
        self.last = nn.Conv2d(config.width, 3, 1)
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            self.last.bias = nn.Parameter(torch.tensor((0.0, 0.0, 0.5)))
        self.curves = nn.Parameter(torch.zeros(2, KNOTS))

    @property
    def peaks(self) -> dict[str, Tensor]:
        """Buffers of the largest magnitudes that the hidden layers reached on the training scenes, per channel.

        The exporter's integer network takes its activation ranges from here.
        """
        return {name: buffer for name, buffer in self.named_buffers() if name.endswith("hidden_peak")}

    def outputs(self, contexts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log2 s, mean and gain, each (batch, line, sample), of contexts (batch, CONTEXTS, line, sample)."""
        x = contexts * CONTEXT_STEP
        for layer in self.hidden:
            x = layer(x, self.arithmetic)
        log2_scale, mean, gain = self.last(x).unbind(1)
        return log2_scale.clamp(LOG2_MIN_SCALE, LOG2_MAX_SCALE), mean, gain.clamp(0, 1)

    def forward(self, contexts: Tensor, prediction: Tensor) -> Distributions:
        """Return the distributions of coefficients.

        Args:
            contexts: (batch, CONTEXTS, line, sample) integers.
            prediction: (batch, line, sample) in steps of 2**-PREDICTION_STEP_BITS.
        """
        log2_scale, mean, gain = self.outputs(contexts)
        if self.arithmetic is Arithmetic.ROUNDED:
            return Distributions(mean=rounded_mean(mean, gain, prediction), log2_scale=rounded_log2_scale(log2_scale))
        return Distributions(mean=predicted_mean(mean, gain, prediction), log2_scale=log2_scale)

    def bits(self, values: Tensor, distributions: Distributions) -> Tensor:
        """Return ideal code lengths of coefficients."""
        mass = self._mass(values - distributions.mean, distributions.log2_scale)
        return -torch.log2(mass.clamp_min(LEAST_PROBABILITY))

    @torch.no_grad()
    def row_masses(self, scale_index: int, reach: int) -> Tensor:
        """Return the probabilities that the frequency tables of one scale approximate.

        Args:
            scale_index: index of the scale.
            reach: largest integer.

        Returns:
            (FRACTIONS, 2 · reach + 1) float64: probabilities of the integers −reach … reach for the difference of a
            coefficient and ⌊μ⌋, given the fraction of μ.
        """
        integers = torch.arange(-reach, reach + 1, dtype=torch.float64)
        fraction = torch.arange(FRACTIONS, dtype=torch.float64) / FRACTIONS
        log2_scale = torch.tensor(LOG2_MIN_SCALE + LOG2_SCALE_STEP * scale_index, dtype=torch.float64)
        return self._mass(integers - fraction[:, None], log2_scale)

    def _mass(self, off: Tensor, log2_scale: Tensor) -> Tensor:
        """Return the probability of the quantiser step at a distance `off` from μ."""
        log2_ratio, weight = self._shape(log2_scale)
        narrow = torch.exp2(-log2_scale)
        wide = narrow * torch.exp2(-log2_ratio)
        return (1 - weight) * _logistic_mass(off, narrow) + weight * _logistic_mass(off, wide)

    def _shape(self, log2_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Return log2 of the ratio of both scales, and the weight of the wide one."""
        place = (log2_scale - LOG2_MIN_SCALE) * ((KNOTS - 1) / (LOG2_MAX_SCALE - LOG2_MIN_SCALE))
        knot = place.detach().floor().long().clamp(0, KNOTS - 2)
        share = place - knot
        curves = self.curves.to(log2_scale.dtype)
        ratio, weight = curves[:, knot] * (1 - share) + curves[:, knot + 1] * share
        return nn.functional.softplus(ratio) + LEAST_LOG2_RATIO, torch.sigmoid(weight - 2)


def _logistic_mass(off: Tensor, inverse_scale: Tensor) -> Tensor:
    """Return the mass between off − ½ and off + ½, as a difference of lower tails, which floating point resolves."""
    nearer, farther = 0.5 - off.abs(), -0.5 - off.abs()
    return torch.sigmoid(nearer * inverse_scale) - torch.sigmoid(farther * inverse_scale)
