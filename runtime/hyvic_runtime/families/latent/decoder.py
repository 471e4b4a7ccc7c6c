"""Decodes units of a learned latent into scenes: tiles ─▶ mosaic of latents ─▶ synthesis of each tile with its halo."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_decoder import DecodedTiles, Place, SceneDecoder
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.families.latent.bundle import DECODER, LatentBundle
from hyvic_runtime.families.latent.conformance import check_entropy_path
from hyvic_runtime.families.latent.entropy_path import load_entropy_path
from hyvic_runtime.families.latent.open_end import cut_at_last_coded_line
from hyvic_runtime.families.latent.tile_decoder import TileLatentDecoder, TileLatents
from hyvic_runtime.packets.completeness import check_complete
from hyvic_runtime.packets.reassembly import ReceivedUnits, UnitKey, Units
from hyvic_runtime.packets.scene_header import SceneHeader
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.scene.scene import Cube
from hyvic_runtime.scene.tile_grid import Tile, TileGrid
from hyvic_runtime.support.ordered_map import ordered_map

Mosaic = NDArray[np.float32]
"""All latents of a scene, (M, line, sample)."""


@dataclass
class LatentDecoder(SceneDecoder[LatentBundle, Mosaic]):
    """Decodes streams of a bundle with a synthesis graph from latents to pixels."""

    def _load(self) -> None:
        share = {"workers": self.workers, "cores": self.cores}
        entropy_path = load_entropy_path(self.bundle, self.engine, **share)
        check_entropy_path(self.bundle, entropy_path)
        self._decoder = self.bundle.load_engine(DECODER, self.engine, **share)
        self._tiles = TileLatentDecoder(
            bundle=self.bundle, entropy_path=entropy_path, coder=self._coder, took=self._took
        )

    def tile_latents(self, units: Units, tile: Tile) -> TileLatents:
        """Decode the units of one tile; see `TileLatentDecoder`."""
        return self._tiles.decode(units, tile)

    def _check_header(self, header: SceneHeader) -> None:
        bands = self.bundle.manifest.bands
        if header.bands != bands:
            raise DecodeError(f"the stream announces {header.bands} bands and the bundle codes {bands}")
        if header.mean_spectrum is None:
            raise DecodeError("the scene header has no mean spectrum, which its bundle needs; the header is damaged")

    def _check_arrival(self, grid: TileGrid, received: ReceivedUnits, *, conceal: bool) -> None:
        check_complete(grid, received, parts=self.bundle.manifest.parts, conceal=conceal)

    def _cut_at_end(self, grid: TileGrid, received: ReceivedUnits) -> tuple[TileGrid, int]:
        units = received.units
        cut = cut_at_last_coded_line(grid, units, lambda tile: self._decodes(tile, units), self.workers)
        # The last latents decode in the same way wherever the scene ends inside them.
        return cut, grid.geometry.latent_stride - 1

    def _decodes(self, tile: Tile, units: Units) -> bool:
        """Return True if the units of a tile hold exactly the lines of the tile."""
        try:
            unit = units.get(UnitKey.of(UnitKind.TILE_EXACT, tile))
            if unit is None:
                return self.tile_latents(units, tile).parts > 0
            self._exact_pixels(unit, tile, self.bundle.manifest.bands, np.dtype(np.uint16))
        except DecodeError:
            return False
        return True

    def _decoded(self, grid: TileGrid, received: ReceivedUnits) -> DecodedTiles[Mosaic]:
        geometry = grid.geometry
        stride, size = geometry.latent_stride, geometry.latents
        mosaic = np.zeros(
            (self.bundle.manifest.latent_channels, -(-grid.lines // stride), -(-grid.samples // stride)), np.float32
        )
        quality = np.full((grid.rows, grid.columns), Quality.LOST, np.uint8)

        def place(tile: Tile) -> str | None:
            if UnitKey.of(UnitKind.TILE_EXACT, tile) in received.units:
                return None  # an exact tile has no latents
            try:
                decoded = self.tile_latents(received.units, tile)
            except DecodeError as error:
                return str(error)
            line, sample = tile.row * size, tile.column * size
            _, lines, samples = decoded.latent.shape
            mosaic[:, line : line + lines, sample : sample + samples] = decoded.latent
            quality[tile.row, tile.column] = decoded.quality
            return decoded.problem

        problems = [problem for problem in ordered_map(place, grid, self.workers) if problem is not None]
        return DecodedTiles(coded=mosaic, quality=quality, problems=tuple(problems))

    def _synthesise(
        self, grid: TileGrid, tiles: Mosaic, header: SceneHeader, cube: Cube, skip: Container[Place]
    ) -> Iterator[Tile]:
        mean = header.mean_spectrum
        assert mean is not None, "checked by _check_header"

        def put(tile: Tile) -> Tile:
            if (tile.row, tile.column) not in skip:
                cube[grid.area(tile)] = self._synthesised(grid, tile, tiles, mean)
            return tile

        return ordered_map(put, grid, self.workers)

    def _synthesised(
        self, grid: TileGrid, tile: Tile, mosaic: NDArray[np.float32], mean: NDArray[np.integer[Any]]
    ) -> NDArray[np.integer[Any]]:
        """Return the pixels of a tile, (line, sample, band)."""
        lines = _latent_window(tile.row, mosaic.shape[1], grid)
        samples = _latent_window(tile.column, mosaic.shape[2], grid)
        begun = time.perf_counter()
        outputs = self._decoder.run({"latent": np.ascontiguousarray(mosaic[None][:, :, lines][..., samples])})
        self._took(time.perf_counter() - begun, 0.0)
        return digital_numbers(outputs["reconstruction"][0, : tile.lines, : tile.samples], mean)


def _latent_window(index: int, size: int, grid: TileGrid) -> NDArray[np.intp]:
    """Return the indices of the latents that the synthesis of a tile reads along an axis, clipped to the mosaic."""
    geometry = grid.geometry
    start = index * geometry.latents - geometry.latent_halo_before
    return np.clip(np.arange(start, start + geometry.latent_window), 0, size - 1)


def digital_numbers(reconstruction: NDArray[np.float32], mean: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Add the mean spectrum to a reconstruction, (line, sample, band), and round to the type of the mean."""
    limits = np.iinfo(mean.dtype)
    spectra = reconstruction + mean.astype(np.float32)
    np.rint(spectra, out=spectra)
    np.clip(spectra, limits.min, limits.max, out=spectra)
    return spectra.astype(mean.dtype)
