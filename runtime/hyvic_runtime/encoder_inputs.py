"""What the encoder graph takes beside a tile's pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.bundle import Bundle
from hyvic_runtime.tile_grid import Tile, coded_shape


def encoder_inputs(
    bundle: Bundle, pixels: NDArray[np.float32], mean: NDArray[np.integer[Any]], code: int, tile: Tile
) -> dict[str, NDArray[np.float32]]:
    """All inputs of the graph for one tile.

    Args:
        bundle: whose graph it is.
        pixels: (1, line, sample, band), of the tile and its halo.
        mean: (band,), to subtract.
        code: of its quality.
        tile: what it covers of the scene.
    """
    geometry = bundle.manifest.geometry
    gain, _ = bundle.gains.at(code)
    inputs = {
        "tile": pixels,
        "mean_spectrum": mean.astype(np.float32)[None, None, None],
        "gain": gain[None],
        "hyperlatent_mask": _mask(geometry.hyperlatents, coded_shape(tile, geometry.hyper_stride)),
    }
    if bundle.manifest.slices:
        # Symbols that are not coded are zero to the parts behind them.
        inputs["latent_mask"] = _mask(geometry.latents, coded_shape(tile, geometry.latent_stride))
    return inputs


def _mask(size: int, coded: tuple[int, int]) -> NDArray[np.float32]:
    mask = np.zeros((1, 1, size, size), np.float32)
    mask[..., : coded[0], : coded[1]] = 1
    return mask
