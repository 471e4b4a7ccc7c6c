from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.adaptive.contexts import CONTEXT_MAX, MAX_COMPONENTS
from hyvic_runtime.adaptive.spectral_basis import STEP_RATIO, SpectralBasis, SpectralStatistics, StripBasis
from hyvic_runtime.errors import EngineError
from hyvic_runtime.scene import SUPPORTED_DTYPES, Cube
from numpy.typing import NDArray

BASIS = StripBasis(
    mean_exponent=0,
    mean=np.array([100, 200, 300], np.int32),
    exponents=np.array([10, 8], np.int8),
    vectors=np.array([[18, 18, 18], [10, 0, -10]], np.int32),
    spread=np.array([40, 20], np.uint8),
)


def _cube(lines: int, samples: int, bands: int, seed: int = 0) -> NDArray[np.uint16]:
    """A few smooth spectra, mixed, and noise of two digital numbers."""
    rng = np.random.default_rng(seed)
    wavelength = np.linspace(0, 1, bands)
    spectra = [1000 * np.exp(-(((wavelength - centre) / 0.3) ** 2)) for centre in (0.1, 0.4, 0.8)]
    mixed = 2000 + rng.normal(size=(lines, samples, 3)) * (0.3, 0.2, 0.1) @ np.array(spectra)
    return np.rint(mixed + rng.normal(0, 2, (lines, samples, bands))).astype(np.uint16)


def _basis(cube: Cube) -> SpectralBasis:
    statistics = SpectralStatistics(cube.shape[2])
    statistics.add(cube)
    return statistics.basis()


def test_lines_that_come_in_portions_have_the_mean_and_covariance_of_them_all() -> None:
    cube = _cube(90, 70, 12)
    statistics = SpectralStatistics(12)
    for lines in np.split(cube, [1, 2, 50]):
        statistics.add(lines)
    basis = statistics.basis()
    spectra = cube.reshape(-1, 12).astype(np.float64)
    assert basis.pixels == len(spectra)
    np.testing.assert_allclose(basis.mean, spectra.mean(axis=0), rtol=1e-12)
    covariance = np.cov(spectra.T, bias=True)
    found = (basis.vectors.T * basis.deviations**2) @ basis.vectors
    np.testing.assert_allclose(found, covariance, atol=1e-12 * covariance.max())
    np.testing.assert_allclose(basis.vectors @ basis.vectors.T, np.eye(12), atol=1e-10)
    assert (np.diff(basis.deviations) <= 0).all()


def test_pixels_without_data_do_not_count() -> None:
    cube = _cube(40, 60, 8)
    counted = np.random.default_rng(1).random((40, 60)) < 0.5
    counted[:35] = False  # the first block, and more
    marked = np.where(counted[..., None], cube, 65535).astype(np.uint16)
    statistics = SpectralStatistics(8)
    statistics.add(marked, counted)
    basis, alone = statistics.basis(), _basis(cube[counted][None])
    assert basis.pixels == int(counted.sum())
    np.testing.assert_allclose(basis.mean, alone.mean, rtol=1e-12)
    np.testing.assert_allclose(basis.deviations, alone.deviations, rtol=1e-9)


def test_clouds_do_not_hide_what_noise_there_is() -> None:
    cube = _cube(64, 64, 200)
    cube[:, 30:] += 62_000
    basis = _basis(cube)
    spectra = cube.reshape(-1, 200) - basis.mean
    np.testing.assert_allclose(basis.deviations, np.sqrt(((spectra @ basis.vectors.T) ** 2).mean(axis=0)), rtol=1e-4)
    assert basis.deviations.min() > 1.5


def test_many_bands_have_as_many_components_as_contexts_allow() -> None:
    basis = _basis(_cube(3, 5, MAX_COMPONENTS + 10))
    assert basis.vectors.shape == (MAX_COMPONENTS, MAX_COMPONENTS + 10)
    assert basis.deviations[0] == basis.deviations.max() > 0


@pytest.mark.parametrize("step", [0.5, 8, 100])
def test_pixels_are_projected_by_least_squares(step: float) -> None:
    cube = _cube(50, 61, 30)
    strip = _basis(cube).quantised(5, step)
    vectors = strip.vectors * 2.0 ** (-strip.exponents[:, None] / 2)
    deviations = cube.reshape(-1, 30) - strip.mean * 2.0 ** (-strip.mean_exponent / 2)
    expected = np.linalg.lstsq(vectors.T, deviations.T, rcond=None)[0]
    planes = strip.project(cube)
    assert planes.dtype == np.float32
    # Products of 30 float32 numbers of about a thousand.
    np.testing.assert_allclose(planes.reshape(5, -1), expected, atol=0.01)


def test_coefficients_reconstruct_what_they_were_made_of() -> None:
    cube = _cube(33, 21, 30)
    strip = _basis(cube).quantised(30, 0.5)
    reconstructed = strip.reconstruct(strip.project(cube), cube.dtype)
    assert reconstructed.dtype == cube.dtype
    assert np.array_equal(reconstructed, cube)


@pytest.mark.parametrize("step", [2, 16, 64])
def test_what_quantised_vectors_lose_is_what_equal_slopes_allow(step: float) -> None:
    cube = _cube(60, 60, 40)
    basis, components = _basis(cube), 3
    deviations = cube.reshape(-1, 40) - basis.mean
    vectors = basis.vectors[:components]
    exact = deviations - deviations @ vectors.T @ vectors
    strip = basis.quantised(components, step)
    sent = strip.vectors * 2.0 ** (-strip.exponents[:, None] / 2)
    found = cube.reshape(-1, 40) - strip.mean * 2.0 ** (-strip.mean_exponent / 2)
    left = found - found @ np.linalg.pinv(sent) @ sent
    added = (left**2).mean() - (exact**2).mean()
    # One share for the mean and for each vector; steps are rounded to half octaves, up to a fourth of one away.
    share = STEP_RATIO**2 * step**2 / 12 / len(deviations)
    assert 0 <= added < 2**0.5 * 1.2 * (components + 1) * share


@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES)
def test_reconstruction_ends_where_the_type_ends(dtype: np.dtype[Any]) -> None:
    limits = np.iinfo(dtype)
    planes = np.array([[[1e9, -1e9]], [[0, 0]]], np.float32)
    cube = BASIS.reconstruct(planes, dtype)
    assert cube.dtype == dtype
    assert cube.tolist() == [[[limits.max] * 3, [limits.min] * 3]]


@pytest.mark.parametrize(
    "cube",
    [
        np.full((5, 7, 9), 1234, np.uint16),
        np.array([[[5, -300, 32767, -32768]]], np.int16),
        _cube(2, 3, 50),
        _cube(9, 9, 1),
        np.arange(12, dtype=np.uint8).reshape(12, 1, 1),
    ],
    ids=["constant", "one pixel", "fewer pixels than bands", "one band", "one sample"],
)
@pytest.mark.parametrize("step", [2.0**-3, 1024.0])
def test_degenerate_strips_have_a_basis(cube: Cube, step: float) -> None:
    bands = cube.shape[2]
    basis = _basis(cube)
    for components in range(bands + 1):
        strip = basis.quantised(components, step)
        planes = strip.project(cube)
        assert planes.shape == (components, *cube.shape[:2])
        assert np.isfinite(planes).all()
        reconstructed = strip.reconstruct(planes, cube.dtype)
        assert reconstructed.shape == cube.shape
    if step < 1:
        assert np.abs(reconstructed.astype(int) - cube).max() <= 1


def test_statistics_that_a_matrix_library_spoilt_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = SpectralStatistics(3)
    statistics.add(np.arange(60, dtype=np.uint16).reshape(4, 5, 3))
    monkeypatch.setattr(statistics, "_products", np.full((3, 3), np.nan))
    with pytest.raises(EngineError, match="another build of NumPy"):
        statistics.basis()


def test_a_strip_without_any_data_has_a_basis() -> None:
    cube = _cube(4, 4, 6)
    statistics = SpectralStatistics(6)
    statistics.add(cube, np.zeros((4, 4), np.bool_))
    strip = statistics.basis().quantised(2, 10)
    assert not strip.mean.any()
    assert not strip.spread.any()
    assert np.isfinite(strip.project(cube)).all()


@given(spread=st.integers(0, 255), code=st.integers(-2048, 13072))
@settings(deadline=None)
def test_contexts_are_told_spreads_in_quantiser_steps(spread: int, code: int) -> None:
    basis = replace(BASIS.leading(1), spread=np.array([spread], np.uint8))
    (found,) = basis.scale(code).log2_spread.tolist()
    expected = 16 * (spread / 4 - (10 - code / 1000))
    assert abs(found - min(max(expected, -CONTEXT_MAX), CONTEXT_MAX)) <= 0.5
    assert found == int(found)


@pytest.mark.parametrize(
    ("code", "log2_spread"), [(0, 0), (10_000, 160), (31, 0), (32, 1), (-31, 0), (-32, -1), (13_072, 209)]
)
def test_contexts_of_a_code_are_frozen(code: int, log2_spread: int) -> None:
    assert BASIS.scale(code).log2_spread[0] == log2_spread  # of 2**10 digital numbers


def test_leading_components_are_those_of_the_whole() -> None:
    one = BASIS.leading(1)
    assert len(one) == 1
    assert np.array_equal(one.vectors, BASIS.vectors[:1])
    assert (one.spread.tolist(), one.exponents.tolist()) == ([40], [10])
    assert len(BASIS.leading(0)) == 0


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"mean": np.array([1, 2], np.int32)}, "shape .2, 3. for 2 components of 2 bands"),
        ({"mean": np.array([1], np.int32)}, "2 components of 1 bands; 1 are the most"),
        ({"mean": np.array([0, 0, 65536], np.int32)}, "extends over 65536 steps"),
        ({"vectors": np.full((2, 3), 32768, np.int32)}, "does not fit 16 bits"),
        ({"spread": np.zeros(1, np.uint8)}, "for 1 components"),
        ({"mean_exponent": -33}, "the coarsest is 2..16"),
        ({"exponents": np.array([0, -128], np.int8)}, "the coarsest is 2..16"),
    ],
)
def test_a_basis_that_no_unit_can_hold_is_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(BASIS, **wrong)
