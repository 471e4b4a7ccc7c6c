from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.adaptive.bundle import AdaptiveBundle
from hyvic_runtime.adaptive.contexts import LEVELS, ORIENTATIONS
from hyvic_runtime.adaptive.wavelet import Planes, Pyramid, analyse, low_size, present, synthesise
from numpy.typing import NDArray

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 70))
# ISO/IEC 15444-1, table F.4 and the text below it: the filters from their centre outwards.
LOW_PASS = (0.6029490182363579, 0.2668641184428723, -0.07822326652898785, -0.01686411844287495, 0.02674875741080976)
HIGH_PASS = (1.115087052456994, -0.5912717631142470, -0.05754352622849957, 0.09127176311424948)


def _noise(shape: tuple[int, ...], seed: int = 0) -> Planes:
    return np.random.default_rng(seed).normal(0, 1000, shape).astype(np.float32)


def _filtered(plane: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high half along the first axis by the standard's filters, orthonormally scaled."""
    extended = np.pad(plane, [(4, 4), (0, 0)], mode="reflect")
    halves = []
    for taps, first, scale in ((LOW_PASS, 0, 2**0.5), (HIGH_PASS, 1, 0.5**0.5)):
        kernel = np.array([*taps[:0:-1], *taps]) * scale
        margin = len(taps) - 1
        rows = range(first, len(plane), 2)
        halves.append(np.array([kernel @ extended[row + 4 - margin : row + 5 + margin] for row in rows]))
    return halves[0], halves[1]


@given(shape=SIZES, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_planes_of_every_size_come_back(shape: tuple[int, int, int], seed: int) -> None:
    planes = _noise(shape, seed)
    before = planes.copy()
    pyramid = analyse(planes)
    # A few dozen roundings of float32 numbers around 1,000.
    np.testing.assert_allclose(synthesise(pyramid, shape[1:]), planes, rtol=0, atol=0.02)
    assert np.array_equal(planes, before)


@given(shape=SIZES)
@settings(deadline=None)
def test_what_is_present_is_all_there_is(shape: tuple[int, int, int]) -> None:
    components, *size = shape
    pyramid = analyse(_noise(shape))
    coefficients = pyramid.approximation[0].size
    for level, details in enumerate(pyramid.details):
        exist = present(size[0], size[1], level)
        assert details.shape == (components, ORIENTATIONS, low_size(size[0], level), low_size(size[1], level))
        assert exist.shape == details.shape[1:]
        assert not details[:, ~exist].any()
        coefficients += int(exist.sum())
    assert coefficients == size[0] * size[1]


@pytest.mark.parametrize("shape", [(37, 48), (48, 37), (5, 6)])
def test_one_level_is_the_standards_filters(shape: tuple[int, int]) -> None:
    plane = _noise(shape)
    low, high = _filtered(plane.astype(np.float64))
    (_, along_samples), (along_lines, both) = (_filtered(half.T) for half in (low, high))
    finest = analyse(plane[None]).details[0][0]
    for orientation, expected in enumerate((along_samples.T, along_lines.T, both.T)):
        exist = present(*shape, 0)[orientation]
        # Rounding of float32 numbers around 1,000; the taps have 15 digits.
        np.testing.assert_allclose(finest[orientation][exist], expected.ravel(), rtol=0, atol=0.01)


def test_a_constant_is_all_in_the_approximation() -> None:
    pyramid = analyse(np.full((1, 96, 97), 100, np.float32))
    np.testing.assert_allclose(pyramid.approximation, 100 * 2**LEVELS, rtol=1e-6)
    assert all(np.abs(details).max() < 0.01 for details in pyramid.details)


def test_errors_weigh_about_the_same_in_every_subband() -> None:
    shape = (256, 256)
    empty = analyse(np.zeros((1, *shape), np.float32))
    rng = np.random.default_rng(0)
    for level in range(LEVELS):
        for orientation in range(ORIENTATIONS):
            details = [array.copy() for array in empty.details]
            noise = details[level][0, orientation]
            noise[...] = rng.normal(size=noise.shape)
            planes = synthesise(Pyramid(approximation=empty.approximation, details=tuple(details)), shape)
            # The 9/7 wavelet is biorthogonal: on average 0.95 for the second level's diagonal to 1.32 for the fifth's.
            assert 0.9 < (planes**2).sum() / (noise**2).sum() < 1.5


def test_pixels_read_as_far_as_the_geometry_says(bundle: AdaptiveBundle) -> None:
    """Those farther off than that from a lost tile are called exact, and nearer ones are not."""
    geometry = bundle.manifest.geometry
    cells, lost = 12, 6
    shape = (1, cells * geometry.latent_stride)
    pyramid = analyse(_noise((1, *shape)))
    whole = synthesise(pyramid, shape)
    for planes in (pyramid.approximation, *pyramid.details):
        of_cell = planes.shape[-1] // cells
        planes[..., lost * of_cell : (lost + 1) * of_cell] = 0
    changed = np.flatnonzero(synthesise(pyramid, shape) != whole) // geometry.latent_stride
    assert lost - changed.min() == geometry.latent_halo_after
    assert changed.max() - lost == geometry.latent_halo_before


def test_a_single_line_is_split_along_samples_alone() -> None:
    pyramid = analyse(_noise((1, 1, 64)))
    for level, details in enumerate(pyramid.details):
        assert details.shape == (1, ORIENTATIONS, 1, 32 >> level)
        assert details[0, 0].all()
        assert not details[0, 1:].any()


def test_a_pyramid_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="none of planes of 30 lines and 50 samples"):
        synthesise(analyse(_noise((1, 40, 50))), (30, 50))
