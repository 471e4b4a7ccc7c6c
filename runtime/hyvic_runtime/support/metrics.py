"""Rate and distortion measures of the HyVIC paper, section IV-C, eq. 3 to 5, 7 and 8.

Cubes are (line, sample, band) of any number type. Sums are in double precision.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Cube = NDArray[np.generic]

SSIM_WINDOW = 7
"""Side of the square window of eq. 8, in pixels (Wang et al., 2004, with a uniform window)."""


def compression_ratio(samples: int, bit_depth: int, octets: int) -> float:
    """Return the compression ratio, eq. 4: bits of the raw scene over bits of the stream, packet headers included.

    >>> compression_ratio(samples=128 * 128 * 224, bit_depth=16, octets=458_752)
    16.0
    """
    return samples * bit_depth / (8 * octets)


def rate_bpppb(samples: int, octets: int) -> float:
    """Return the rate in bits per pixel per band.

    >>> rate_bpppb(samples=128 * 128 * 224, octets=458_752)
    1.0
    """
    return 8 * octets / samples


def mean_squared_error(original: Cube, reconstruction: Cube) -> float:
    """Return the mean squared error, eq. 3, in squared digital numbers."""
    if original.shape != reconstruction.shape:
        raise ValueError(f"cubes of shape {original.shape} and {reconstruction.shape} cannot be compared")
    # One line at a time: the memory cannot hold a whole swath in double precision.
    total = 0.0
    for a, b in zip(original, reconstruction, strict=True):
        total += float(np.square(a.astype(np.float64) - b.astype(np.float64)).sum())
    return total / original.size


def psnr(original: Cube, reconstruction: Cube, peak: float) -> float:
    """Return the PSNR, eq. 5, in dB; infinite for an exact reconstruction.

    Args:
        original: scene that was encoded.
        reconstruction: decoded scene.
        peak: MAX of the paper, the range of the sensor (EnMAP: 10,000).

    >>> cube = np.zeros((2, 2, 3), np.int16)
    >>> psnr(cube, cube + np.int16(100), peak=10_000)
    40.0
    """
    mse = mean_squared_error(original, reconstruction)
    return float("inf") if mse == 0 else float(10 * np.log10(peak**2 / mse))


def spectral_angle(original: Cube, reconstruction: Cube) -> float:
    """Return the spectral angle, eq. 7: mean over all pixels of the angle between the two spectra, in degrees.

    A pixel whose spectrum is zero in both cubes counts as 0 degrees. A spectrum that is zero in one cube counts as 90.

    >>> cube = np.array([[[3, 4, 0], [0, 0, 5]]])
    >>> spectral_angle(cube, 2 * cube)
    0.0
    >>> spectral_angle(cube, cube[:, ::-1])
    90.0
    """
    total = 0.0
    for a, b in zip(original, reconstruction, strict=True):
        x, y = a.astype(np.float64), b.astype(np.float64)
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        cosine = np.divide((x * y).sum(axis=1), norms, out=np.zeros_like(norms), where=norms > 0)
        # Rounding can make the cosine slightly larger than 1.
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        angle[~x.any(axis=1) & ~y.any(axis=1)] = 0
        total += float(angle.sum())
    return total / (original.shape[0] * original.shape[1])


def ssim(original: Cube, reconstruction: Cube, peak: float) -> float:
    """Return the SSIM, eq. 8: mean over bands and over all windows that lie inside the image.

    Means, variances and covariances are taken over SSIM_WINDOW² pixels, with unbiased normalisation.
    c1 = (0.01 MAX)², c2 = (0.03 MAX)², and `peak` is MAX. An image smaller than the window is one window.
    """
    lines, samples, bands = original.shape
    window = (min(SSIM_WINDOW, lines), min(SSIM_WINDOW, samples))
    count = window[0] * window[1]
    unbiased = count / max(count - 1, 1)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    total = 0.0
    for band in range(bands):
        x, y = original[:, :, band].astype(np.float64), reconstruction[:, :, band].astype(np.float64)
        mean_x, mean_y = _window_mean(x, window), _window_mean(y, window)
        variance_x = unbiased * (_window_mean(x * x, window) - mean_x**2)
        variance_y = unbiased * (_window_mean(y * y, window) - mean_y**2)
        covariance = unbiased * (_window_mean(x * y, window) - mean_x * mean_y)
        numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
        denominator = (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
        total += float((numerator / denominator).mean())
    return total / bands


def _window_mean(values: NDArray[np.float64], window: tuple[int, int]) -> NDArray[np.float64]:
    """Return the mean of every window inside the image, (line, sample) of the window's first pixel."""
    for axis, size in enumerate(window):
        sums = np.cumsum(values, axis=axis)
        sums = np.insert(sums, 0, 0.0, axis=axis)
        head = np.take(sums, range(size, sums.shape[axis]), axis=axis)
        values = (head - np.take(sums, range(sums.shape[axis] - size), axis=axis)) / size
    return values
