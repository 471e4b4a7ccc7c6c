"""Spectra as lines in order of wavelength, without a line across missing bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GAP_NM = 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectralAxis:
    """Horizontal axis of a spectrum; detectors overlap, and bands of water vapour are left out.

    >>> axis = SpectralAxis.of(np.array([500.0, 400.0, 900.0]), 3)
    >>> axis.x.tolist(), axis.line(np.array([5, 4, 9])).tolist()
    ([400.0, nan, 500.0, nan, 900.0], [4.0, nan, 5.0, nan, 9.0])

    Attributes:
        x: wavelengths in nm or band numbers, ascending, with NaN between two that are far apart.
        label: text of the axis.
        order: order of the bands.
        gaps: places where a NaN is inserted.
    """

    x: NDArray[np.float64]
    label: str
    order: NDArray[np.intp]
    gaps: NDArray[np.intp]

    @classmethod
    def of(cls, wavelengths: NDArray[np.float64] | None, bands: int) -> SpectralAxis:
        """Return the axis of a scene; band numbers if it has no wavelengths."""
        x = np.arange(bands, dtype=np.float64) if wavelengths is None else wavelengths
        order = np.argsort(x, kind="stable")
        gaps = np.flatnonzero(np.diff(x[order]) > _GAP_NM) + 1 if wavelengths is not None else np.zeros(0, np.intp)
        label = "Band" if wavelengths is None else "Wavelength in nm"
        return cls(x=np.insert(x[order], gaps, np.nan), label=label, order=order, gaps=gaps)

    def line(self, spectrum: NDArray[np.number[Any]]) -> NDArray[np.float64]:
        """Return a spectrum's values at `x`."""
        return np.insert(spectrum[self.order].astype(np.float64), self.gaps, np.nan)
