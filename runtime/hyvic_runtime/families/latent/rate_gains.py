"""Gains that give one bundle many rates: a factor for each latent channel before the quantiser, and one after it.

This is the gained variational autoencoder of Cui et al., Asymmetric Gained Deep Image Compression With Continuous Rate
Adaptation, CVPR 2021. A bundle has a pair of vectors for each trained rate level. A quality between two levels takes
their geometric interpolation. Below the lowest and above the highest level, one factor multiplies all quantiser steps,
so that the codec can meet budgets outside the trained rates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.packets.quality import CODES_PER_OCTAVE, MAX_QUALITY_CODE


@dataclass(frozen=True, slots=True)
class RateGains:
    """Gains of a bundle.

    Attributes:
        values: (2, rates, M) float32, positive: gains, then inverse gains; levels in the order of rising rate.
    """

    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or len(self.values) != 2 or not self.values.size:
            raise ValueError(f"gains have shape {self.values.shape}; (2, rates, channels) is needed")
        if not (np.isfinite(self.values).all() and (self.values > 0).all()):
            raise ValueError("a gain is not a finite positive number")

    def at(self, code: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return gain and inverse gain of a quality.

        Args:
            code: quality code; 0 is the lowest trained level and MAX_QUALITY_CODE the highest.

        Returns:
            Factors for the latent before rounding, and after decoding; each (M, 1, 1).
        """
        rates = self.values.shape[1]
        trained = min(max(code, 0), MAX_QUALITY_CODE)
        level = trained / MAX_QUALITY_CODE * (rates - 1)
        below = min(int(level), max(rates - 2, 0))
        above = min(below + 1, rates - 1)
        share = np.float32(level - below)
        # Exactly at a level, take its values; powers would round them.
        low, high = self.values[:, below], self.values[:, above]
        mixed = low if share == 0 else high if share == 1 else low ** (1 - share) * high**share
        gain, inverse = mixed[:, :, None, None]
        if code == trained or rates == 1:
            return gain, inverse
        finer = np.float32(2 ** ((code - trained) / CODES_PER_OCTAVE))
        return gain * finer, inverse / finer
