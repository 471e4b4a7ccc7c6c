from __future__ import annotations

import math

import numpy as np
import pytest
from hyvic_runtime.support.metrics import compression_ratio, mean_squared_error, psnr, rate_bpppb, spectral_angle, ssim

skimage = pytest.importorskip("skimage.metrics", reason="no scikit-image to compare with")


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    original = rng.integers(0, 10_000, (23, 31, 6)).astype(np.uint16)
    noisy = np.clip(original + rng.normal(0, 300, original.shape), 0, 65535)
    return original, np.rint(noisy).astype(np.uint16)


def test_psnr_agrees_with_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = skimage.peak_signal_noise_ratio(*pair, data_range=10_000)
    assert psnr(*pair, 10_000) == pytest.approx(expected, abs=1e-9)


def test_ssim_agrees_with_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    original, noisy = (x.astype(np.float64) for x in pair)
    expected = np.mean(
        [
            _valid_mean(skimage.structural_similarity(original[..., b], noisy[..., b], data_range=10_000, full=True)[1])
            for b in range(original.shape[2])
        ]
    )
    # Running sums against scikit-image's filter: double rounding only.
    assert ssim(*pair, 10_000) == pytest.approx(expected, abs=1e-9)


def _valid_mean(similarity_map: np.ndarray) -> float:
    return float(similarity_map[3:-3, 3:-3].mean())


def test_ssim_of_equal_pictures_is_one_and_of_a_tiny_one_defined() -> None:
    cube = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)
    assert ssim(cube, cube, 100) == pytest.approx(1)
    assert ssim(cube[:1, :1], cube[:1, :1], 100) == pytest.approx(1)


def test_spectral_angle_by_hand() -> None:
    # (1, 0) against (1, 1): 45°. (3, 4) against itself: 0°. (1, 0) against (0, 2): 90°. (1, √3) against (1, 0): 60°.
    original = np.array([[[1, 0], [3, 4]], [[1, 0], [1, math.sqrt(3)]]])
    reconstruction = np.array([[[1.0, 1], [3, 4]], [[0, 2], [1, 0]]])
    assert spectral_angle(original, reconstruction) == pytest.approx((45 + 0 + 90 + 60) / 4)


def test_spectral_angle_of_dark_pixels() -> None:
    dark, light = np.zeros((1, 1, 3)), np.ones((1, 1, 3))
    assert spectral_angle(dark, dark) == 0
    assert spectral_angle(dark, light) == pytest.approx(90)
    assert spectral_angle(light, 7 * light) == pytest.approx(0, abs=1e-5)


def test_rates_by_hand() -> None:
    # 10 × 10 × 4 samples of 16 bits are 800 octets.
    assert compression_ratio(400, 16, 100) == 8
    assert rate_bpppb(400, 100) == 2


def test_exact_reconstruction_has_no_finite_psnr() -> None:
    cube = np.ones((2, 2, 2), np.int16)
    assert mean_squared_error(cube, cube) == 0
    assert psnr(cube, cube, 10_000) == math.inf


def test_sixteen_bit_differences_do_not_wrap() -> None:
    low, high = np.full((1, 1, 1), -32768, np.int16), np.full((1, 1, 1), 32767, np.int16)
    assert mean_squared_error(low, high) == 65535.0**2
