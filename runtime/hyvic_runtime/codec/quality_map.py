"""How each pixel of a reconstruction was made."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.scene.tile_grid import TileGrid


class Quality(IntEnum):
    """How a pixel was made; the values of a quality map."""

    LOST = 0
    """Nothing of its tile arrived."""
    MEANS = 1
    """Some or all of its tile's latents are their predicted means. Or, of a scene whose end is lost, it lies past it
    perhaps."""
    AFFECTED = 2
    """Its own tile is exact, but its synthesis reads latents of one that is not."""
    EXACT = 3
    """As the encoder meant it."""


def pixel_quality(tile_quality: NDArray[np.uint8], grid: TileGrid) -> NDArray[np.uint8]:
    """`Quality` by pixel, (line, sample): the tile's own, or AFFECTED where a worse neighbour is within reach."""
    geometry = grid.geometry
    latents = tile_quality.repeat(geometry.latents, axis=0).repeat(geometry.latents, axis=1)
    sound = latents == Quality.EXACT
    for axis in (0, 1):
        size = sound.shape[axis]
        reach = range(-geometry.latent_halo_before, geometry.latent_halo_after + 1)
        # What a pixel of latent i reads; beyond the mosaic its edge is repeated, as the synthesis does.
        sound = np.logical_and.reduce([sound.take(np.clip(np.arange(size) + r, 0, size - 1), axis=axis) for r in reach])
    latents[(latents == Quality.EXACT) & ~sound] = Quality.AFFECTED
    pixels = latents.repeat(geometry.latent_stride, axis=0).repeat(geometry.latent_stride, axis=1)
    return pixels[: grid.lines, : grid.samples]
