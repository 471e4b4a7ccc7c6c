"""Synthetic scenes for tests, and the places of files that tests read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
BUNDLES = ROOT / "tests" / "golden" / "bundles"
SHIPPED_CHECKPOINT = ROOT / "checkpoints" / "hyvic-s-202"
BANDS = 20
"""Bands of the tiny HyVIC and joint bundles."""
TILE = 32
"""Tile side of the tiny bundles."""


def smooth_cube(lines: int, samples: int, bands: int, seed: int = 0) -> np.ndarray:
    """Make a scene with the structure of a real one: few materials, smooth spectra and abundances, sensor noise."""
    rng = np.random.default_rng(seed)
    knots = rng.uniform(300, 4000, (4, 6))
    spectra = np.stack([np.interp(np.linspace(0, 5, bands), np.arange(6), k) for k in knots])
    y, x = np.mgrid[:lines, :samples] / 24.0
    phases = rng.uniform(0, 6, (4, 2))
    abundance = np.stack([1 + np.sin(x * (i + 1) + a) * np.cos(y + b) for i, (a, b) in enumerate(phases)], axis=-1)
    abundance /= abundance.sum(axis=-1, keepdims=True) + 0.1
    return np.rint(abundance @ spectra + rng.normal(0, 8, (lines, samples, bands))).clip(0, 65535).astype(np.uint16)
