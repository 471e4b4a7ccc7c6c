"""One bundle, many rates: a factor for every latent channel before the quantiser and another one after it.

Gained variational autoencoder: Cui et al., Asymmetric Gained Deep Image Compression With Continuous Rate
Adaptation, CVPR 2021. A bundle has a pair of vectors for every rate level that was trained; a quality between two
levels takes their geometric interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_QUALITY = 100.0
QUALITY_STEPS = 100
"""Steps a unit of quality has on the wire: a quality is a multiple of 1/100."""
MAX_QUALITY_CODE = round(MAX_QUALITY * QUALITY_STEPS)


def quality_code(quality: float) -> int:
    """A quality as packets carry it, 0 … MAX_QUALITY_CODE.

    Raises:
        ValueError: it is not within 0 … 100.
    """
    if not 0 <= quality <= MAX_QUALITY:
        raise ValueError(f"quality {quality:g} is outside 0..{MAX_QUALITY:g}")
    return round(quality * QUALITY_STEPS)


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
            code: 0 … MAX_QUALITY_CODE, which are the lowest and the highest level.

        Returns:
            Factors of the latent before rounding and after decoding, (M, 1, 1) each.
        """
        rates = self.values.shape[1]
        level = code / MAX_QUALITY_CODE * (rates - 1)
        below = min(int(level), max(rates - 2, 0))
        above = min(below + 1, rates - 1)
        share = np.float32(level - below)
        # At a level itself its own values, not what a power made of them.
        low, high = self.values[:, below], self.values[:, above]
        mixed = low if share == 0 else high if share == 1 else low ** (1 - share) * high**share
        gain, inverse = mixed[:, :, None, None]
        return gain, inverse
