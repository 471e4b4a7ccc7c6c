"""Quality map: tells how each pixel of a reconstruction was made."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.scene.tile_grid import TileGrid


class Quality(IntEnum):
    """Value of a quality map: how a pixel was made."""

    LOST = 0
    """The tile of the pixel cannot be decoded."""
    MEANS = 1
    """Latents of the tile are their predicted means, or the pixel may lie after the lost end of the scene."""
    AFFECTED = 2
    """The tile of the pixel is exact, but the synthesis reads latents of a tile that is not exact."""
    EXACT = 3
    """The pixel is the one that the encoder intended."""


def pixel_quality(tile_quality: NDArray[np.uint8], grid: TileGrid) -> NDArray[np.uint8]:
    """Return the `Quality` of each pixel, (line, sample), from the quality of each tile, (row, column).

    A pixel of an exact tile is AFFECTED if its synthesis reads latents of a tile that is not exact.
    """
    geometry = grid.geometry
    latents = tile_quality.repeat(geometry.latents, axis=0).repeat(geometry.latents, axis=1)
    sound = latents == Quality.EXACT
    for axis in (0, 1):
        size = sound.shape[axis]
        reach = range(-geometry.latent_halo_before, geometry.latent_halo_after + 1)
        # Latents that the pixels of each latent read; the edge of the mosaic is repeated, as in the synthesis.
        sound = np.logical_and.reduce([sound.take(np.clip(np.arange(size) + r, 0, size - 1), axis=axis) for r in reach])
    latents[(latents == Quality.EXACT) & ~sound] = Quality.AFFECTED
    pixels = latents.repeat(geometry.latent_stride, axis=0).repeat(geometry.latent_stride, axis=1)
    return pixels[: grid.lines, : grid.samples]
