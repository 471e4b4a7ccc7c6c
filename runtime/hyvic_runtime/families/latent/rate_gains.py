"""One bundle, many rates: a factor for every latent channel before the quantiser and another one after it.

Gained variational autoencoder: Cui et al., Asymmetric Gained Deep Image Compression With Continuous Rate
Adaptation, CVPR 2021. A bundle has a pair of vectors for every rate level that was trained; a quality between two
levels takes their geometric interpolation. Below and above them all, every quantiser step of the outermost level is
multiplied by one factor: budgets can be met there that no trained level meets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_QUALITY = 100.0
QUALITY_STEPS = 100
"""Steps a unit of quality has on the wire: a quality is a multiple of 1/100."""
MAX_QUALITY_CODE = round(MAX_QUALITY * QUALITY_STEPS)
"""Of the highest level; the lowest has 0."""
CODES_PER_OCTAVE = 512
"""Beyond the levels, so many codes halve or double every quantiser step."""
LOWEST_CODE = -5 * CODES_PER_OCTAVE
"""Coarser, a tile is better served by its predicted means alone (docs/results/rate-control.md); and small scenes that
are coded scene-adaptively keep a budget of CR 1,024 so."""
HIGHEST_CODE = MAX_QUALITY_CODE + 6 * CODES_PER_OCTAVE
"""Finer, the picture gets no better, and symbols outgrow 16 bits."""
QUALITY_CODES = range(LOWEST_CODE, HIGHEST_CODE + 1)
LOWEST_QUALITY, HIGHEST_QUALITY = LOWEST_CODE / QUALITY_STEPS, HIGHEST_CODE / QUALITY_STEPS


def quality_code(quality: float) -> int:
    """A quality as packets carry it, LOWEST_CODE … HIGHEST_CODE.

    Raises:
        ValueError: it is not within LOWEST_QUALITY … HIGHEST_QUALITY.
    """
    if not LOWEST_QUALITY <= quality <= HIGHEST_QUALITY:
        raise ValueError(f"quality {quality:g} is outside {LOWEST_QUALITY:g}..{HIGHEST_QUALITY:g}")
    return round(quality * QUALITY_STEPS)


_PLACES_BEYOND = 4


def place_of_code(code: int) -> int:
    """Where a code stands on an axis along which rates change evenly.

    Beyond the levels a code moves the steps about four times as far as between them (levels of λ a decade apart).
    """
    trained = min(max(code, 0), MAX_QUALITY_CODE)
    return trained + _PLACES_BEYOND * (code - trained)


def code_of_place(place: float) -> int:
    """The code nearest to a place."""
    trained = min(max(place, 0), MAX_QUALITY_CODE)
    return round(trained + (place - trained) / _PLACES_BEYOND)


@dataclass(frozen=True, slots=True)
class RateGains:
    """The gains of a bundle.

    Attributes:
        values: (2, rates, M) float32, positive: gains, then inverse gains; levels by rising rate.
    """

    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or len(self.values) != 2 or not self.values.size:
            raise ValueError(f"gains have shape {self.values.shape}, (2, rates, channels) is needed")
        if not (np.isfinite(self.values).all() and (self.values > 0).all()):
            raise ValueError("gains are not all finite and positive")

    def at(self, code: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Gain and inverse gain of a quality.

        Args:
            code: 0 … MAX_QUALITY_CODE, which are the lowest and the highest level, or beyond them.

        Returns:
            Factors of the latent before rounding and after decoding, (M, 1, 1) each.
        """
        rates = self.values.shape[1]
        trained = min(max(code, 0), MAX_QUALITY_CODE)
        level = trained / MAX_QUALITY_CODE * (rates - 1)
        below = min(int(level), max(rates - 2, 0))
        above = min(below + 1, rates - 1)
        share = np.float32(level - below)
        # At a level itself its own values, not what a power made of them.
        low, high = self.values[:, below], self.values[:, above]
        mixed = low if share == 0 else high if share == 1 else low ** (1 - share) * high**share
        gain, inverse = mixed[:, :, None, None]
        if code == trained or rates == 1:
            return gain, inverse
        finer = np.float32(2 ** ((code - trained) / CODES_PER_OCTAVE))
        return gain * finer, inverse / finer
