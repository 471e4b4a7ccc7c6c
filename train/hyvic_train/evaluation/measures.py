"""Measures of one patch at one operating point (seed paper, section IV-C, eq. 3 to 5, 7 and 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hyvic_runtime.support.metrics import psnr, spectral_angle, ssim
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Rate and distortion of a patch.

    Attributes:
        rate_bpppc: bits per pixel per channel.
        psnr_db: eq. 5 over the sensor's range; infinite for an exact patch.
        ssim_uniform: eq. 8 with a uniform window of 7 × 7 pixels (Wang et al., 2004, as scikit-image has it).
        ssim_gaussian: eq. 8 with a Gaussian window of 11 × 11 pixels, σ 1.5, as pytorch_msssim has it.
        spectral_angle_deg: eq. 7.
    """

    rate_bpppc: float
    psnr_db: float
    ssim_uniform: float
    ssim_gaussian: float
    spectral_angle_deg: float

    def compression_ratio(self, bits_per_sample: int) -> float:
        """Return eq. 4 for samples of N_b bits."""
        return bits_per_sample / self.rate_bpppc


def measured(original: NDArray[np.float32], reconstruction: NDArray[np.float32], bits: float, peak: float) -> Measures:
    """Measure a patch.

    Args:
        original: (band, line, sample) digital numbers.
        reconstruction: (band, line, sample) digital numbers, decoded.
        bits: length of the patch's stream, or its estimate.
        peak: MAX of eq. 5 and 8.
    """
    first, second = (np.moveaxis(cube, 0, -1) for cube in (original, reconstruction))
    return Measures(
        rate_bpppc=bits / original.size,
        psnr_db=psnr(first, second, peak),
        ssim_uniform=ssim(first, second, peak),
        ssim_gaussian=_gaussian_ssim(original, reconstruction, peak),
        spectral_angle_deg=spectral_angle(first, second),
    )


def _gaussian_ssim(original: NDArray[np.float32], reconstruction: NDArray[np.float32], peak: float) -> float:
    import torch
    from pytorch_msssim import ssim as msssim

    images = (torch.from_numpy(cube.astype(np.float64))[None] for cube in (original, reconstruction))
    return float(msssim(*images, data_range=peak))
