"""Makes the inputs of the encoder graph: the window of a tile, the mean spectrum, the gains and the masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.strip import HeldLines
from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.scene.scene import Cube
from hyvic_runtime.scene.tile_grid import Tile, TileGrid, coded_shape

GATHERED_LINES = 16
"""Number of lines to convert at a time: they fit the cache, and a memory-mapped scene is read in order."""


def gather(window: NDArray[np.float32], scene: HeldLines | Cube, grid: TileGrid, tile: Tile) -> None:
    """Fill the window of a tile, (line, sample, band), with pixels of the scene, mirrored outside its edges."""
    lines, samples = grid.window_lines(tile.row), grid.window_samples(tile.column)
    top, left = (index * grid.geometry.tile - grid.geometry.halo_before for index in (tile.row, tile.column))
    upper, lower = max(0, -top), min(len(lines), grid.lines - top)
    first, last = max(0, -left), min(len(samples), grid.samples - left)
    mirrored = np.concatenate((np.arange(first), np.arange(last, len(samples))))

    def convert(at: int, block: Cube) -> None:
        spectra = window[at : at + len(block)]
        np.copyto(spectra[:, first:last], block[:, left + first : left + last], casting="unsafe")
        if mirrored.size:
            spectra[:, mirrored] = block[:, samples[mirrored]]

    for at in range(upper, lower, GATHERED_LINES):
        convert(at, scene[top + at : top + min(at + GATHERED_LINES, lower)])
    for at in (*range(upper), *range(lower, len(lines))):
        convert(at, scene[int(lines[at]) : int(lines[at]) + 1])


def encoder_inputs(
    bundle: LatentBundle, pixels: NDArray[np.float32], mean: NDArray[np.integer[Any]], code: int, tile: Tile
) -> dict[str, NDArray[np.float32]]:
    """Return all inputs of the encoder graph for one tile, by name.

    Args:
        bundle: bundle of the graph.
        pixels: (1, line, sample, band), the tile and its halo.
        mean: (band,), mean spectrum to subtract.
        code: quality code.
        tile: part of the scene that the tile covers.
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
        # For later parts, symbols that are not coded are zero.
        inputs["latent_mask"] = _mask(geometry.latents, coded_shape(tile, geometry.latent_stride))
    return inputs


def _mask(size: int, coded: tuple[int, int]) -> NDArray[np.float32]:
    mask = np.zeros((1, 1, size, size), np.float32)
    mask[..., : coded[0], : coded[1]] = 1
    return mask
