"""What the encoder graph takes: a tile's pixels, and what goes with them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.scene.scene import Cube
from hyvic_runtime.scene.tile_grid import Tile, TileGrid, coded_shape

GATHERED_LINES = 16
"""Lines converted at a time, which fit the cache; a memory-mapped scene is read in order."""


class Lines(Protocol):
    """Gives lines, (line, sample, band), by their numbers in the scene."""

    def __getitem__(self, lines: slice, /) -> Cube: ...


def gather(window: NDArray[np.float32], scene: Lines, grid: TileGrid, tile: Tile) -> None:
    """Fill a tile's window, (line, sample, band), with the scene's pixels, mirrored beyond its edges."""
    lines, samples = grid.window_lines(tile.row), grid.window_samples(tile.column)
    top, left = (place * grid.geometry.tile - grid.geometry.halo_before for place in (tile.row, tile.column))
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
