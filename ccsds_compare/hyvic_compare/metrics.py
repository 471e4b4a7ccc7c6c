"""Metrics of decoded cubes."""

from __future__ import annotations

import numpy as np
from hyvic_runtime.scene.scene import Cube, Scene
from hyvic_runtime.support.metrics import spectral_angle, ssim

from hyvic_compare.results import TILE, Distortion


def distortion(scene: Scene, decoded: Cube, peak: float) -> Distortion:
    """Return all measures of a reconstruction.

    Samples without data count as 0 in both cubes for SSIM and spectral angle, and do not count for the others.

    Args:
        scene: scene that was encoded.
        decoded: reconstruction, in the scene's shape and type.
        peak: largest digital number, for PSNR and SSIM.
    """
    lines, samples, bands = decoded.shape
    original = scene.cube
    errors, counts = np.zeros(bands), np.zeros(bands)
    tiles: list[float] = []
    largest = 0
    for first in range(0, lines, TILE):
        a, b = original[first : first + TILE], decoded[first : first + TILE]
        differences = a.astype(np.int32) - b
        valid = np.ones(a.shape, bool) if scene.no_data is None else a != scene.no_data
        differences[~valid] = 0
        largest = max(largest, int(np.abs(differences).max()))
        squares = np.square(differences, dtype=np.float64)
        errors += squares.sum(axis=(0, 1))
        counts += valid.sum(axis=(0, 1))
        if len(a) == TILE:
            tiles += [
                _psnr(float(squares[:, s : s + TILE].sum()), int(valid[:, s : s + TILE].sum()), peak)
                for s in range(0, samples - TILE + 1, TILE)
            ]
    if scene.no_data is not None:
        without = original == scene.no_data
        original, decoded = np.where(without, 0, original), np.where(without, 0, decoded)
    return Distortion(
        psnr_db=_psnr(float(errors.sum()), int(counts.sum()), peak),
        ssim=ssim(original, decoded, peak),
        spectral_angle_deg=spectral_angle(original, decoded),
        max_abs_error=largest,
        band_psnr_db=tuple(_psnr(float(e), int(n), peak) for e, n in zip(errors, counts, strict=True)),
        tile_psnr_db=tuple(tiles),
    )


def _psnr(squared_error: float, count: int, peak: float) -> float:
    """Return PSNR by eq. 5 of the seed paper; infinite if nothing is lost or no sample counts."""
    return float("inf") if squared_error == 0 else float(10 * np.log10(peak**2 * count / squared_error))
