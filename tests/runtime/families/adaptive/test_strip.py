from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from both_kernels import NATIVE, both_kernels
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.adaptive.strip import STATISTICS_PIXELS, basis_of_strip, quantiser_step, transform_strip
from hyvic_runtime.families.adaptive.strip_basis import SpectralStatistics
from hyvic_runtime.families.adaptive.wavelet import Pyramid
from hyvic_runtime.scene.scene import Cube


def _cube(lines: int, samples: int, noise: float) -> Cube:
    """Two spectra, mixed smoothly, and noise."""
    rng = np.random.default_rng(0)
    bands = np.linspace(0, 3, 12)
    slow = np.cumsum(rng.normal(0, 20, (lines, samples, 2)), axis=0)
    cube = 9000 + slow @ np.array([np.sin(bands), np.cos(bands)]) + rng.normal(0, noise, (lines, samples, 12))
    return np.rint(cube).astype(np.uint16)


def test_a_large_strip_is_told_by_runs_of_its_samples() -> None:
    cube = _cube(64, 3 * STATISTICS_PIXELS // 64, noise=3)
    statistics = SpectralStatistics(12)
    statistics.add(cube)
    whole, runs = statistics.basis(), basis_of_strip(cube, None)
    assert runs.pixels == whole.pixels
    np.testing.assert_allclose(runs.deviations, whole.deviations, rtol=0.1)
    # Both vary about alike, so it is what they span that counts.
    shared = np.linalg.svd(runs.vectors[:2] @ whole.vectors[:2].T, compute_uv=False)
    assert shared.min() > 0.999
    assert not np.array_equal(runs.mean, whole.mean)


def test_pixels_without_data_in_a_large_strip_do_not_count() -> None:
    cube = _cube(64, 3 * STATISTICS_PIXELS // 64, noise=3)
    valid = np.random.default_rng(1).random(cube.shape[:2]) < 0.9
    marked = np.where(valid[..., None], cube, 65535).astype(np.uint16)
    assert basis_of_strip(marked, valid).mean.max() < 20_000


def test_components_that_are_noise_at_a_step_are_not_sent() -> None:
    cube = _cube(64, 64, noise=3)
    basis = basis_of_strip(cube, None)
    kept = [len(transform_strip(cube, basis, code, 64, kernels=NATIVE).basis) for code in (3000, 9500)]
    assert kept == [2, 12]  # steps of 128 and of 1.4 digital numbers


@both_kernels
@pytest.mark.parametrize("samples", [64, 65, 130, 31])
def test_tiles_are_what_the_whole_strips_wavelet_has_of_them(kernels: Kernels, samples: int) -> None:
    rng = np.random.default_rng(2)
    cube = rng.integers(0, 4000, (37, samples, 70)).astype(np.uint16)  # all of whose components pay
    code = 4000
    strip = transform_strip(cube, basis_of_strip(cube, None), code, 64, kernels=kernels)
    assert len(strip.basis) == 70
    planes = np.concatenate(strip.basis.project(cube)) / np.float32(quantiser_step(code))
    tiles = strip.tiles
    assert len(tiles) == -(-samples // 64)
    joined = Pyramid(
        approximation=np.concatenate([tile.approximation for tile in tiles], axis=-1),
        details=tuple(
            np.concatenate(levels, axis=-1) for levels in zip(*(tile.details for tile in tiles), strict=True)
        ),
    )
    assert np.array_equal(joined.approximation, kernels.analyse(planes).approximation)
    np.testing.assert_allclose(kernels.synthesise(joined, (37, samples)), planes, atol=1e-3)


def test_threads_transform_a_strip_as_one_does() -> None:
    cube = _cube(64, 200, noise=30)
    basis = basis_of_strip(cube, None)
    alone = transform_strip(cube, basis, 8000, 64, kernels=NATIVE)
    with ThreadPoolExecutor(3) as pool:
        together = transform_strip(cube, basis, 8000, 64, kernels=NATIVE, each=pool.map)
    assert len(alone.basis) == len(together.basis) == 12
    for one, other in zip(alone.tiles, together.tiles, strict=True):
        for planes, same in zip((one.approximation, *one.details), (other.approximation, *other.details), strict=True):
            assert np.array_equal(planes, same)
