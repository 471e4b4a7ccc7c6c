"""Units to scenes with a bundle of the scene-adaptive family.

units ─▶ tiles: coefficients ─▶ rows of tiles: wavelet, spectra ─▶ pixels
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.quality_map import Quality, pixel_quality
from hyvic_runtime.codec.scene_decoder import DecodedTiles, Place, SceneDecoder
from hyvic_runtime.errors import DecodeError, LostTilesError
from hyvic_runtime.families.adaptive.basis_coder import SYMBOLS_PER_OCTET, BasisCoder
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle
from hyvic_runtime.families.adaptive.coding_order import PARTS
from hyvic_runtime.families.adaptive.conformance import check_network
from hyvic_runtime.families.adaptive.context_network import load_context_network
from hyvic_runtime.families.adaptive.strip import quantiser_step
from hyvic_runtime.families.adaptive.strip_basis import StripBasis
from hyvic_runtime.families.adaptive.tile_coder import DecodedTile, TileCoder
from hyvic_runtime.families.adaptive.wavelet import Pyramid, empty_pyramid, tile_bands
from hyvic_runtime.packets.completeness import check_header_plausible
from hyvic_runtime.packets.reassembly import ReceivedUnits, UnitKey, Units, damage_clause
from hyvic_runtime.packets.scene_header import SceneHeader
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.packets.tile_prefix import PREFIX_OCTETS, TilePrefix, unpack_tile_prefix
from hyvic_runtime.scene.scene import Cube
from hyvic_runtime.scene.tile_grid import Tile, TileGrid
from hyvic_runtime.support.blas_threads import one_thread_each
from hyvic_runtime.support.ordered_map import ordered_map


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedRow:
    """A row of tiles.

    Attributes:
        basis: spectral basis of the row; None where it did not arrive.
        tiles: coefficients in digital numbers of the tiles that arrived, by column.
        problem: reason why there is no basis.
    """

    basis: StripBasis | None
    tiles: dict[int, Pyramid]
    problem: str | None = None


@dataclass
class AdaptiveDecoder(SceneDecoder[AdaptiveBundle, list[DecodedRow]]):
    """Decodes streams of a bundle of the scene-adaptive family."""

    def _load(self) -> None:
        network = load_context_network(
            self.bundle, self.engine, kernels=self.kernels, workers=self.workers, cores=self.cores
        )
        check_network(self.bundle, network)
        self._tiles = TileCoder(network=network, coder=self._coder)
        self._basis_coder = BasisCoder(coder=self._coder)

    def _check_header(self, header: SceneHeader) -> None:
        if header.mean_spectrum is not None:
            raise DecodeError("the scene header has a mean spectrum, which its bundle's encoder does not write")

    def _check_arrival(self, grid: TileGrid, received: ReceivedUnits, *, conceal: bool) -> None:
        bands = received.header.bands
        most = max((_bands_of(key.kind, len(octets)) for key, octets in received.units.items()), default=0)
        if bands > most:
            raise DecodeError(
                f"the scene header announces {bands} bands and no basis or lossless tile of so many arrived whole"
                f"{damage_clause(received.damage)}; send the scene again"
            )
        arrived = check_header_plausible(grid, received, parts=PARTS, conceal=conceal)
        tiles = grid.rows * grid.columns
        if len(arrived) < tiles and not conceal:
            reason = f"nothing arrived of them{damage_clause(received.damage)}"
            raise LostTilesError(lost=tiles - len(arrived), tiles=tiles, reason=reason)

    def _decoded(self, grid: TileGrid, received: ReceivedUnits) -> DecodedTiles[list[DecodedRow]]:
        rows = [self._opened_row(row, grid, received) for row in range(grid.rows)]
        exact = any(key.kind == UnitKind.TILE_EXACT for key in received.units)
        if not exact and all(row.basis is None for row in rows):
            clause = damage_clause(received.damage)
            raise DecodeError(f"nothing of the scene can be reconstructed: {rows[0].problem}{clause}")
        quality = np.full((grid.rows, grid.columns), Quality.LOST, np.uint8)

        def decode(tile: Tile) -> str | None:
            if UnitKey.of(UnitKind.TILE_EXACT, tile) in received.units:
                return None  # it has no coefficients
            row = rows[tile.row]
            if row.basis is None:
                return f"{tile}: {row.problem}"
            try:
                prefix, decoded = self._tile(tile, row.basis, received.units)
            except DecodeError as error:
                return f"{tile}: {error}"
            quality[tile.row, tile.column] = Quality.EXACT if decoded.problem is None else Quality.MEANS
            step = np.float32(quantiser_step(prefix.code))
            pyramid = decoded.pyramid
            row.tiles[tile.column] = Pyramid(
                approximation=pyramid.approximation * step, details=tuple(level * step for level in pyramid.details)
            )
            return None if decoded.problem is None else f"{tile}: {decoded.problem}"

        problems = [problem for problem in ordered_map(decode, grid, self.workers) if problem is not None]
        return DecodedTiles(coded=rows, quality=quality, problems=tuple(problems))

    def _opened_row(self, row: int, grid: TileGrid, received: ReceivedUnits) -> DecodedRow:
        """Return a row of tiles with its basis, or with the reason why it has none."""
        try:
            basis, lines = self._basis(row, received)
            if lines != grid.tile(row, 0).lines:
                raise DecodeError(
                    f"the basis of its row is of {lines} lines and the scene has {grid.tile(row, 0).lines} there"
                )
        except DecodeError as error:
            return DecodedRow(basis=None, tiles={}, problem=str(error))
        return DecodedRow(basis=basis, tiles={})

    def _basis(self, row: int, received: ReceivedUnits) -> tuple[StripBasis, int]:
        """Return the basis of a row of tiles, and the number of lines that its unit gives the row.

        Raises:
            DecodeError: its unit is missing or damaged.
        """
        unit = received.units.get(UnitKey(UnitKind.STRIP_BASIS, row, 0))
        if unit is None:
            raise DecodeError("the basis of its row did not arrive whole")
        basis, lines = self._basis_coder.unpack(unit, received.header.bands)
        if not 1 <= lines <= self.bundle.manifest.geometry.tile:
            raise DecodeError(
                f"the basis of its row is of {lines} lines; 1..{self.bundle.manifest.geometry.tile} are possible"
            )
        return basis, lines

    def _tile(self, tile: Tile, basis: StripBasis, units: Units) -> tuple[TilePrefix, DecodedTile]:
        """Return a tile's prefix, and what arrived of its coefficients.

        Raises:
            DecodeError: its first unit is missing or damaged.
        """
        unit = units.get(UnitKey.of(UnitKind.TILE_BASE, tile))
        if unit is None:
            raise DecodeError("its first unit did not arrive whole")
        prefix = unpack_tile_prefix(unit)
        begun = time.perf_counter()
        decoded = self._tiles.decode(
            unit[PREFIX_OCTETS:],
            lambda part: units.get(UnitKey.of(UnitKind.TILE_REFINEMENT, tile, part)),
            basis.scale(prefix.code),
            (tile.lines, tile.samples),
        )
        self._took(time.perf_counter() - begun, 0.0)
        if decoded.problem is not None and prefix.latent_left_out:
            decoded = DecodedTile(pyramid=decoded.pyramid, problem="its sender left out details to keep its budget")
        return prefix, decoded

    def _cut_at_end(self, grid: TileGrid, received: ReceivedUnits) -> tuple[TileGrid, int]:
        last = grid.rows - 1
        try:
            lines = self._basis(last, received)[1]
        except DecodeError:
            return grid, grid.geometry.tile
        return replace(grid, lines=last * grid.geometry.tile + lines), 0

    def _pixel_quality(self, tile_quality: NDArray[np.uint8], grid: TileGrid) -> NDArray[np.uint8]:
        rows = []
        for row, quality in enumerate(tile_quality):
            lines = grid.tile(row, 0).lines
            strip = TileGrid(geometry=grid.geometry, lines=lines, samples=grid.samples)
            rows.append(pixel_quality(quality[None], strip))
        return np.concatenate(rows)

    def _synthesise(
        self, grid: TileGrid, tiles: list[DecodedRow], header: SceneHeader, cube: Cube, skip: Container[Place]
    ) -> Iterator[Tile]:
        def put(row: int) -> list[Tile]:
            with one_thread_each(where=self.workers > 1 or self.cores == 1):
                strip = self._strip(grid, row, tiles[row], header)
            of_row = [grid.tile(row, column) for column in range(grid.columns)]
            for tile in of_row:
                if (tile.row, tile.column) not in skip:
                    lines, samples = grid.area(tile)
                    cube[lines, samples] = strip[:, samples]
            return of_row

        return chain.from_iterable(ordered_map(put, range(grid.rows), self.workers))

    def _strip(self, grid: TileGrid, row: int, decoded: DecodedRow, header: SceneHeader) -> Cube:
        """Return the pixels of a row of tiles; without its basis they are zero, and marked as lost."""
        lines = grid.tile(row, 0).lines
        if decoded.basis is None:
            return np.zeros((lines, grid.samples, header.bands), header.dtype)
        pyramid = empty_pyramid(len(decoded.basis), lines, grid.samples)
        for column, tile in decoded.tiles.items():
            for of_strip, band in tile_bands(pyramid, tile, column * grid.geometry.tile):
                of_strip[: len(band)] = band  # the strip may have more components
        planes = self._tiles.network.kernels.synthesise(pyramid, (lines, grid.samples))
        return decoded.basis.reconstruct(planes, header.dtype)


def _bands_of(kind: UnitKind, octets: int) -> int:
    """Return the most bands that a scene may have, given the octets of one of its units; only two kinds tell."""
    return octets * {UnitKind.STRIP_BASIS: SYMBOLS_PER_OCTET, UnitKind.TILE_EXACT: 1}.get(kind, 0)
