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

from hyvic_runtime.packets.quality import CODES_PER_OCTAVE, MAX_QUALITY_CODE


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
