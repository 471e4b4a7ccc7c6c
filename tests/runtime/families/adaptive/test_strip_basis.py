from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX
from hyvic_runtime.families.adaptive.planes import MAX_COMPONENTS
from hyvic_runtime.families.adaptive.strip_basis import (
    MEAN_STEP_RATIO,
    PIXEL_SHARE,
    STEP_RATIO,
    SpectralBasis,
    SpectralStatistics,
    StripBasis,
)
from hyvic_runtime.scene.scene import SUPPORTED_DTYPES, Cube
from numpy.typing import NDArray
from rounding import FLOAT32, FLOAT64, deviation_bound, gamma

BASIS = StripBasis(
    mean_exponent=0,
    mean=np.array([100, 200, 300], np.int32),
    vectors=np.array([[18, 18, 18], [0, 10, -10]], np.int32),
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


def _mixed_covariance(cube: Cube) -> NDArray[np.float64]:
    """Of pixels, and of what they differ by from the mean of two neighbours."""
    spectra = cube.astype(np.float64)
    details = spectra[1:, 1:] - (spectra[:-1, 1:] + spectra[1:, :-1]) / 2
    of_details = np.einsum("lsa,lsb->ab", details, details) / (1.5 * details.shape[0] * details.shape[1])
    return PIXEL_SHARE * np.cov(spectra.reshape(-1, cube.shape[2]).T, bias=True) + of_details


def _check_deviations(basis: SpectralBasis, spectra: NDArray[np.float64]) -> None:
    """The basis' standard deviations are those of pixels (pixel, band) about its mean."""
    expected = np.sqrt(((spectra @ basis.vectors.T) ** 2).mean(axis=0))
    bound = deviation_bound(spectra, basis.vectors, expected)
    assert (np.abs(basis.deviations - expected) <= bound).all()


def test_components_are_those_of_pixels_and_details_together() -> None:
    cube = _cube(29, 70, 12)  # one block of lines
    basis = _basis(cube)
    spectra = cube.reshape(-1, 12).astype(np.float64)
    assert basis.pixels == len(spectra)
    np.testing.assert_allclose(basis.mean, spectra.mean(axis=0), rtol=2 * gamma(len(spectra) + 2, FLOAT64))
    # LAPACK's eigenvectors are those of a matrix within p(n) u of the given one, p a low polynomial: n² here.
    np.testing.assert_allclose(basis.vectors @ basis.vectors.T, np.eye(12), atol=gamma(12**2, FLOAT64))
    mixed = basis.vectors @ _mixed_covariance(cube) @ basis.vectors.T
    # Both covariances are sums over pixels, and no element is larger than the largest variance.
    sums = 2 * gamma(3 * len(spectra) + 12**2, FLOAT64) * 12
    np.testing.assert_allclose(mixed, np.diag(np.diag(mixed)), atol=sums * mixed.max())
    _check_deviations(basis, spectra - basis.mean)
    assert (np.diff(basis.deviations) <= 0).all()


def test_a_line_alone_has_principal_components_of_its_pixels() -> None:
    cube = _cube(1, 400, 12)
    basis = _basis(cube)
    covariance = np.cov(cube[0].T, bias=True)
    found = (basis.vectors.T * basis.deviations**2) @ basis.vectors
    np.testing.assert_allclose(found, covariance, atol=2 * 12 * gamma(400 + 12**2, FLOAT64) * covariance.max())


def test_lines_that_come_in_portions_have_the_mean_and_deviations_of_them_all() -> None:
    cube = _cube(90, 70, 12)
    statistics = SpectralStatistics(12)
    for lines in np.split(cube, [1, 2, 50]):
        statistics.add(lines)
    basis = statistics.basis()
    spectra = cube.reshape(-1, 12).astype(np.float64)
    assert basis.pixels == len(spectra)
    np.testing.assert_allclose(basis.mean, spectra.mean(axis=0), rtol=2 * gamma(len(spectra) + 2, FLOAT64))
    _check_deviations(basis, spectra - basis.mean)


def test_slow_changes_hardly_turn_what_bands_share_in_detail() -> None:
    rng = np.random.default_rng(0)
    cube = 1000 + rng.normal(0, 15, (20, 100, 1)) + rng.normal(0, 1, (20, 100, 2))
    cube[..., 0] += np.linspace(-17, 17, 20)[:, None]
    leading = _basis(np.rint(cube).astype(np.uint16)).vectors[0]
    np.testing.assert_allclose(np.abs(leading), 0.5**0.5, atol=0.04)
    assert np.abs(np.linalg.eigh(np.cov(cube.reshape(-1, 2).T))[1][:, 1]).max() > 0.76  # pixels alone say otherwise


def test_pixels_without_data_do_not_count() -> None:
    cube = _cube(40, 60, 8)
    counted = np.random.default_rng(1).random((40, 60)) < 0.5
    counted[:35] = False  # the first block, and more
    found = []
    for mark in (65535, 0):
        statistics = SpectralStatistics(8)
        statistics.add(np.where(counted[..., None], cube, mark).astype(np.uint16), counted)
        found.append(statistics.basis())
    basis, other = found
    assert np.array_equal(basis.vectors, other.vectors)
    assert basis.pixels == int(counted.sum())
    rounded = 2 * gamma(basis.pixels + 2, FLOAT64)
    np.testing.assert_allclose(basis.mean, cube[counted].mean(axis=0, dtype=np.float64), rtol=rounded)
    _check_deviations(basis, cube[counted] - basis.mean)


def test_clouds_do_not_hide_what_noise_there_is() -> None:
    cube = _cube(64, 64, 200)
    cube[:, 30:] += 62_000
    basis = _basis(cube)
    spectra = cube.reshape(-1, 200) - basis.mean
    _check_deviations(basis, spectra)
    assert basis.deviations.min() > 1.5


def test_many_bands_have_as_many_components_as_contexts_allow() -> None:
    basis = _basis(_cube(3, 5, MAX_COMPONENTS + 10))
    assert basis.vectors.shape == (MAX_COMPONENTS, MAX_COMPONENTS + 10)
    assert basis.deviations[0] == basis.deviations.max() > 0


@pytest.mark.parametrize("step", [0.5, 8, 100])
def test_pixels_are_projected_by_least_squares(step: float) -> None:
    cube = _cube(50, 61, 30)
    strip = _basis(cube).quantised(5, step)
    vectors = _reflected(strip)
    deviations = cube.reshape(-1, 30) - strip.mean * 2.0 ** (-strip.mean_exponent / 2)
    expected = np.linalg.lstsq(vectors.T, deviations.T, rcond=None)[0]
    planes = np.concatenate(strip.project(cube))
    assert planes.dtype == np.float32
    # Sums of 30 products in float32, of vectors, means and differences that are rounded before.
    magnitude = np.abs(vectors) @ (cube.reshape(-1, 30) + np.abs(strip.mean * 2.0 ** (-strip.mean_exponent / 2))).T
    assert (np.abs(planes.reshape(5, -1) - expected) <= gamma(30 + 3, FLOAT32) * magnitude).all()


def test_coefficients_reconstruct_what_they_were_made_of() -> None:
    cube = _cube(33, 21, 30)
    strip = _basis(cube).quantised(30, 0.5)
    reconstructed = strip.reconstruct(np.concatenate(strip.project(cube)), cube.dtype)
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
    sent = _reflected(strip)
    found = cube.reshape(-1, 40) - strip.mean * 2.0 ** (-strip.mean_exponent / 2)
    left = found - found @ sent.T @ sent
    added = (left**2).mean() - (exact**2).mean()
    # One share for the mean, whose step is rounded to half an octave, up to a fourth of one away, and for each vector.
    share = step**2 / 12 / len(deviations)
    assert 0 <= added < 1.2 * share * (2**0.5 * MEAN_STEP_RATIO**2 + components * STEP_RATIO**2)


@given(seed=st.integers(0, 2**32 - 1), bands=st.integers(1, 40), coarse=st.floats(0.01, 1e5))
@settings(deadline=None)
def test_whatever_is_sent_stands_for_an_orthonormal_basis(seed: int, bands: int, coarse: float) -> None:
    rng = np.random.default_rng(seed)
    components = int(rng.integers(1, bands + 1))
    basis = SpectralBasis(
        pixels=100,
        mean=np.zeros(bands),
        vectors=np.linalg.qr(rng.normal(size=(bands, bands)))[0],
        deviations=-np.sort(-rng.exponential(1000, bands)),
    )
    vectors = _reflected(basis.quantised(components, coarse))
    # Each of a vector's reflections, one for each vector before, rounds sums over the bands four times.
    np.testing.assert_allclose(
        vectors @ vectors.T, np.eye(components), atol=gamma(4 * (bands + 2) * (components + 1), FLOAT64)
    )
    if coarse <= 0.1:
        np.testing.assert_allclose(vectors @ basis.vectors[:components].T, np.eye(components), atol=0.02)


def test_vectors_are_sent_as_finely_as_their_errors_count() -> None:
    """Of components that vary alike any mixture is as good; those far above noise are told from lost ones only."""
    basis = SpectralBasis(
        pixels=10_000, mean=np.zeros(20), vectors=np.eye(20), deviations=np.array([800.0] * 5 + [50.0] * 15)
    )
    alike, leading = basis.quantised(20, 1.0), basis.quantised(5, 100.0)
    towards_lost = np.sqrt(15 / (19 - np.arange(5)))
    np.testing.assert_allclose(
        np.abs(leading.vectors).max(axis=1), 100 * 800 / 100 / STEP_RATIO * towards_lost, rtol=0.02
    )
    assert (np.abs(alike.vectors[5:]).max(axis=1) < 100 * 50 / STEP_RATIO / 10).all()


def _reflected(strip: StripBasis) -> NDArray[np.float64]:
    """The basis as docs/packet-format.md says it: the k-th vector through the reflections of those before it."""
    reflections, vectors = [np.eye(len(strip.mean))], []
    for sent in strip.vectors.astype(np.float64):
        unit = sent / np.linalg.norm(sent)
        vectors.append(reflections[-1] @ unit)
        pivot = next(band for band, element in enumerate(sent) if abs(element) == np.abs(sent).max())
        unit[pivot] += 1 if unit[pivot] > 0 else -1
        reflections.append(reflections[-1] @ (np.eye(len(unit)) - 2 * np.outer(unit, unit) / (unit @ unit)))
    return np.array(vectors)


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
        planes = np.concatenate(strip.project(cube))
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
    assert np.isfinite(np.concatenate(strip.project(cube))).all()


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
    assert one.spread.tolist() == [40]
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
        ({"mean_exponent": 128}, "the coarsest is 2..16"),
        ({"vectors": np.array([[18, 18, 18], [0, 0, 0]], np.int32)}, "is zero, or is not"),
        ({"vectors": np.array([[18, 18, 18], [1, 10, -10]], np.int32)}, "is zero, or is not"),
    ],
)
def test_a_basis_that_no_unit_can_hold_is_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(BASIS, **wrong)


def test_runs_that_lie_beside_each_other_are_no_neighbours() -> None:
    cube = np.random.default_rng(8).integers(0, 4000, (20, 24, 5)).astype(np.uint16)
    together, apart, neighbours = SpectralStatistics(5), SpectralStatistics(5), SpectralStatistics(5)
    together.add(cube, run=8)
    neighbours.add(cube)
    for first in range(0, 24, 8):
        apart.add(cube[:, first : first + 8])
    expected, found, other = (statistics.basis().vectors for statistics in (apart, together, neighbours))
    np.testing.assert_allclose(np.abs((found * expected).sum(axis=1)), 1)
    assert np.abs((other * expected).sum(axis=1)).min() < 1 - 1e-6
