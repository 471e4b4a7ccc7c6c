"""Conversion of stored values of a patch file to digital numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hyvic_runtime.errors import SceneError
from numpy.typing import NDArray

REFLECTANCE_SCALE = 10_000.0
"""Digital numbers of reflectance 1 (EnMAP L2A, and the paper's 0…10,000)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUnits:
    """Units of floating-point files; integers are digital numbers already.

    Attributes:
        scale: digital numbers per stored unit, where the configuration names it.
        most: largest reflectance of the data set; larger floats are refused unless `scale` gives their unit.
    """

    scale: float | None
    most: float

    def digital_numbers(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return an array in whole digital numbers; NaN stays NaN."""
        if stored.dtype.kind in "iu":
            return stored.astype(np.float32)
        if stored.dtype.kind != "f":
            raise SceneError(f"holds {stored.dtype}, not numbers")
        if self.scale is None and (stored > self.most).any():
            raise SceneError(
                f"its floating-point values reach {np.fmax.reduce(stored, axis=None):g}, reflectances {self.most:g}; "
                "set data.scale to the digital numbers that 1 stands for (1 if they are digital numbers)"
            )
        # Rounding undoes the division that made reflectances of digital numbers.
        values = stored.astype(np.float32)
        values *= np.float32(REFLECTANCE_SCALE if self.scale is None else self.scale)
        np.rint(values, out=values)
        return values
