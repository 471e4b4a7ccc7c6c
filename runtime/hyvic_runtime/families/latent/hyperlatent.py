"""Hyper-latents ẑ and the frequency tables that code them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.latent.bundle import LatentBundle


def in_tables(hyperlatent: NDArray[np.int32], bundle: LatentBundle) -> bool:
    """Return True if every ẑ, (N, line, sample), lies within its table, for which the integer network is exact."""
    first = bundle.tables.first[bundle.manifest.scales :, None, None]
    last = first + bundle.tables.length[bundle.manifest.scales :, None, None] - 1
    return bool(((first <= hyperlatent) & (hyperlatent <= last)).all())


def hyperlatent_rows(shape: tuple[int, ...], scales: int) -> NDArray[np.intp]:
    """Return the frequency table of every element of a raveled (N, line, sample) ẑ: channels follow the scales."""
    return np.repeat(np.arange(scales, scales + shape[0]), shape[1] * shape[2])
