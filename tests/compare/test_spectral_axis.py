from __future__ import annotations

import numpy as np
from hyvic_compare.spectral_axis import SpectralAxis


def test_a_line_is_in_order_of_wavelength_and_broken_where_bands_are_missing() -> None:
    axis = SpectralAxis.of(np.array([500.0, 480, 900]), 3)
    assert axis.label == "Wavelength in nm"
    np.testing.assert_array_equal(axis.x, [480, 500, np.nan, 900])
    np.testing.assert_array_equal(axis.line(np.array([5, 4, 9])), [4, 5, np.nan, 9])


def test_bands_without_wavelengths_are_numbered() -> None:
    axis = SpectralAxis.of(None, 3)
    assert axis.label == "Band"
    np.testing.assert_array_equal(axis.line(np.array([7, 8, 9])), [7, 8, 9])
