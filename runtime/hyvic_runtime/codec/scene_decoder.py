"""Units to scenes, whatever the model family: what decoders have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.codec.completeness import lines_without_end
from hyvic_runtime.codec.exact_tile import ExactTileCoder
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.engines.selection import EngineKind, default_workers, usable_cores
from hyvic_runtime.errors import DecodeError, LostTilesError
from hyvic_runtime.packets.protection import PacketOpener, Refusal
from hyvic_runtime.packets.reassembly import ReceivedStream, ReceivedUnits, UnitKey, damage_clause, receive
from hyvic_runtime.packets.scene_header import SceneHeader
from hyvic_runtime.packets.space_packet import MAX_GRID, Damage, UnitKind
from hyvic_runtime.packets.tile_prefix import PREFIX_OCTETS, unpack_tile_prefix
from hyvic_runtime.scene.marked_samples import Mask, unpack_marks
from hyvic_runtime.scene.scene import Cube, Scene, next_to_marked
from hyvic_runtime.scene.tile_grid import Tile, TileGrid
from hyvic_runtime.support.ordered_map import ordered_map

BundleT = TypeVar("BundleT", bound=Bundle)
CodedT = TypeVar("CodedT")
"""What the tiles of a scene are decoded to before the picture is made."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedScene:
    """A reconstruction.

    Attributes:
        scene_id: the sender's, 0..2**32 - 1.
        scene: the cube in the original type, with the bundle's wavelengths.
        quality: (line, sample) uint8 of `Quality`.
        damage: what was wrong with the stream.
        refused: undamaged packets that were dropped, by the reason.
        strays: packets of scenes that have no header, by the scene; they were dropped.
    """

    scene_id: int
    scene: Scene
    quality: NDArray[np.uint8]
    damage: tuple[Damage, ...]
    refused: dict[Refusal, int]
    strays: dict[int, int]


@dataclass(slots=True)
class StageTimes:
    """Seconds spent a stage, over all tiles and workers so far."""

    packets_s: float = 0.0
    entropy_coder_s: float = 0.0
    engine_s: float = 0.0


Finish = Callable[[Tile, Callable[[], Cube]], None]
"""Puts a tile into the scene; asks for its pixels, (line, sample, band) in the scene's type, where it needs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedTiles(Generic[CodedT]):
    """The tiles of a scene, before the picture is made.

    Attributes:
        coded: what they hold.
        quality: (row, column) uint8 of `Quality`.
        problems: why some are not exact.
    """

    coded: CodedT
    quality: NDArray[np.uint8]
    problems: list[str]


@dataclass
class SceneDecoder(ABC, Generic[BundleT, CodedT]):
    """Decodes streams of one bundle.

    Attributes:
        bundle: what the streams were coded with.
        engine: what runs its graphs; None: what the bundle was compiled for.
        workers: tiles to work on at a time, which share the cores.
        cores: of the processor that it may keep busy.
        times: where the time went, for reports.
    """

    bundle: BundleT
    engine: EngineKind | None = None
    workers: int = field(default_factory=default_workers)
    cores: int = field(default_factory=usable_cores)
    times: StageTimes = field(default_factory=StageTimes)

    def __post_init__(self) -> None:
        self._lock = Lock()  # of the times, which all workers add to
        self._coder = self.bundle.entropy_coder()
        self._lossless = ExactTileCoder(self._coder, self.bundle.manifest.scales)
        self._load()

    @abstractmethod
    def _load(self) -> None:
        """Load and check the engines, and check the coder."""

    @abstractmethod
    def _check_header(self, header: SceneHeader) -> None:
        """Refuse a header that the bundle's encoder does not write.

        Raises:
            DecodeError: it is one.
        """

    @abstractmethod
    def _check_arrival(self, grid: TileGrid, received: ReceivedUnits, *, conceal: bool) -> None:
        """Refuse a scene of which too little arrived, before memory is taken for it; see `check_complete`."""

    @abstractmethod
    def _cut_at_end(self, grid: TileGrid, received: ReceivedUnits) -> tuple[TileGrid, int]:
        """Find out how far a scene reaches whose end did not arrive.

        Args:
            grid: of whole rows of tiles.
            received: the scene.

        Returns:
            The grid, its last row as high as it was coded; and how many of the last lines may lie behind the end.
        """

    @abstractmethod
    def _decoded(self, grid: TileGrid, received: ReceivedUnits) -> DecodedTiles[CodedT]:
        """Decode all tiles but lossless ones, which are LOST here and no problem."""

    @abstractmethod
    def _pixel_quality(self, tile_quality: NDArray[np.uint8], grid: TileGrid) -> NDArray[np.uint8]:
        """`Quality` by pixel, (line, sample), from that by tile."""

    @abstractmethod
    def _finished(self, grid: TileGrid, tiles: CodedT, header: SceneHeader, finish: Finish) -> Iterator[int]:
        """Have workers finish every tile, in the order of acquisition; each time some are done, how many those are."""

    def _took(self, engine_s: float, entropy_coder_s: float) -> None:
        with self._lock:
            self.times.engine_s += engine_s
            self.times.entropy_coder_s += entropy_coder_s

    def decode(
        self,
        stream: bytes,
        *,
        scene_id: int | None = None,
        conceal: bool = False,
        key: bytes | None = None,
        progress: Progress = lambda done, total: None,
    ) -> DecodedScene:
        """Reconstruct a scene of a stream.

        Args:
            stream: packets, one after another.
            scene_id: which scene; None: the only one.
            conceal: reconstruct even if tiles are missing, marking them in the quality map, instead of raising.
            key: of a protected stream; packets that it does not open are dropped, and so are unprotected ones.
            progress: called with the tiles reconstructed so far and in all.

        Raises:
            LostTilesError: tiles are missing and `conceal` is false.
            DecodeError: nothing can be reconstructed, or the stream holds several scenes and `scene_id` names none.
        """
        return self.reconstruct(self.receive(stream, key=key), scene_id, conceal=conceal, progress=progress)

    def receive(self, stream: bytes, *, key: bytes | None = None) -> ReceivedStream:
        """Collect the units of every scene of a stream, for `reconstruct`."""
        begun = time.perf_counter()
        received = receive(stream, None if key is None else PacketOpener(key))
        with self._lock:
            self.times.packets_s += time.perf_counter() - begun
        return received

    def reconstruct(
        self,
        stream: ReceivedStream,
        scene_id: int | None = None,
        *,
        conceal: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> DecodedScene:
        """Reconstruct one of a stream's scenes; see `decode`."""
        received = stream.scene(scene_id)
        header = received.header
        if header.lines == 0:
            size = self.bundle.manifest.geometry.tile
            header = replace(header, lines=lines_without_end(received, size, conceal=conceal))
        grid = self._grid(header)
        self._check_arrival(grid, received, conceal=conceal)
        uncertain = 0
        if received.header.lines == 0:
            grid, uncertain = self._cut_at_end(grid, received)
        tiles = self._decoded(grid, received)
        reasons = tiles.problems
        if reasons:
            reasons[0] += damage_clause(received.damage)
        cube = _empty_cube(grid, header)
        lossless = self._put_lossless(grid, cube, received, reasons)
        unmarked = self._unmarked_tiles(grid, header, received)
        reasons += unmarked.values()
        if reasons and not conceal:
            raise LostTilesError(lost=len(reasons), tiles=grid.rows * grid.columns, reason=reasons[0])
        if received.damage and not conceal:
            clause = damage_clause(received.damage)
            raise DecodeError(f"every tile is whole{clause}; pass --conceal to accept it")
        quality = self._pixel_quality(tiles.quality, grid)
        for row, column in lossless:
            quality[_area(grid.tile(row, column), grid)] = Quality.EXACT
        quality[grid.lines - uncertain :] = np.minimum(quality[grid.lines - uncertain :], Quality.MEANS)
        for row, column in unmarked:
            area = _area(grid.tile(row, column), grid)
            quality[area] = np.minimum(quality[area], Quality.AFFECTED)

        def finish(tile: Tile, picture: Callable[[], Cube]) -> None:
            pixels = cube[_area(tile, grid)]
            if (tile.row, tile.column) not in lossless:
                pixels[:] = picture()
            masks = [] if (tile.row, tile.column) in unmarked else self._masks(tile, header, received)
            _put_marks(pixels, header.marked_values, masks)

        for done in accumulate(self._finished(grid, tiles.coded, header, finish)):
            progress(done, grid.rows * grid.columns)
        cube[quality == Quality.LOST] = header.no_data or 0
        wavelengths = self.bundle.manifest.wavelengths if header.wavelengths is None else header.wavelengths
        return DecodedScene(
            scene_id=received.scene_id,
            scene=Scene(
                cube=cube,
                wavelengths=None if wavelengths is None else np.array(wavelengths),
                no_data=header.no_data,
                georeference=header.georeference,
            ),
            quality=quality,
            damage=received.damage,
            refused=stream.refused,
            strays={scene: stray.packets for scene, stray in stream.strays.items()},
        )

    def _put_lossless(
        self, grid: TileGrid, cube: Cube, received: ReceivedUnits, reasons: list[str]
    ) -> set[tuple[int, int]]:
        """Put in what the encoder's engine failed on; rows and columns of it. `reasons` gets why others are lost."""
        tiles = [tile for tile in grid if UnitKey.of(UnitKind.TILE_EXACT, tile) in received.units]

        def put(tile: Tile) -> str | None:
            unit = received.units[UnitKey.of(UnitKind.TILE_EXACT, tile)]
            try:
                unpack_tile_prefix(unit)
                cube[_area(tile, grid)] = self._lossless_pixels(unit, tile, cube.shape[2], cube.dtype)
            except DecodeError as error:
                return f"tile {tile.row}, {tile.column}: {error}"
            return None

        problems = list(ordered_map(put, tiles, self.workers))
        reasons += [problem for problem in problems if problem is not None]
        return {(tile.row, tile.column) for tile, problem in zip(tiles, problems, strict=True) if problem is None}

    def _lossless_pixels(self, unit: bytes, tile: Tile, bands: int, dtype: np.dtype[Any]) -> Cube:
        return self._lossless.decode(unit[PREFIX_OCTETS:], (tile.lines, tile.samples, bands), dtype)

    def _unmarked_tiles(
        self, grid: TileGrid, header: SceneHeader, received: ReceivedUnits
    ) -> dict[tuple[int, int], str]:
        """Tiles whose marked samples are not known, by row and column, and why."""
        unmarked = {}
        for tile in grid:
            try:
                self._masks(tile, header, received)
            except DecodeError as error:
                unmarked[tile.row, tile.column] = f"tile {tile.row}, {tile.column}: {error}"
        return unmarked

    def _masks(self, tile: Tile, header: SceneHeader, received: ReceivedUnits) -> list[Mask]:
        """Of a tile's marked samples, one for each marked value of the scene; none where the tile has none.

        Raises:
            DecodeError: they did not arrive, or not as they were sent.
        """
        leads = (UnitKey.of(kind, tile) for kind in (UnitKind.TILE_EXACT, UnitKind.TILE_BASE))
        lead = next((received.units[key] for key in leads if key in received.units), None)
        unit = received.units.get(UnitKey.of(UnitKind.TILE_MASKS, tile))
        if unit is None:
            # Without its hyper-latent the tile is lost anyway.
            if lead is not None and len(lead) >= PREFIX_OCTETS and unpack_tile_prefix(lead).marked:
                raise DecodeError("its marks did not arrive whole")
            return []
        shape = (tile.lines, tile.samples, header.bands)
        return unpack_marks(unit, count=len(header.marked_values), shape=shape)

    def _grid(self, header: SceneHeader) -> TileGrid:
        if header.bundle_id != self.bundle.stream_id:
            raise DecodeError(
                f"the stream was coded with bundle {header.bundle_id.hex()}, this is bundle "
                f"{self.bundle.stream_id.hex()}; decode it with the bundle that encoded it"
            )
        self._check_header(header)
        grid = TileGrid(geometry=self.bundle.manifest.geometry, lines=header.lines, samples=header.samples)
        if max(grid.rows, grid.columns) > MAX_GRID:
            raise DecodeError(f"the scene header announces {grid.rows} × {grid.columns} tiles; none has so many")
        return grid


AnyDecoder = SceneDecoder[Any, Any]
"""Of any family."""


def _empty_cube(grid: TileGrid, header: SceneHeader) -> Cube:
    """Room for the scene.

    Raises:
        DecodeError: there is none, as a bad header may have it.
    """
    shape = (grid.lines, grid.samples, header.bands)
    try:
        return np.empty(shape, header.dtype)
    except MemoryError as error:
        size = f"{grid.lines} × {grid.samples} × {header.bands}"
        raise DecodeError(f"the scene header announces {size} samples, and there is no memory for them") from error


def _put_marks(pixels: NDArray[np.integer[Any]], values: tuple[int, ...], masks: Sequence[Mask]) -> None:
    """Put a tile's marked values where they belong, and nowhere else; without masks it has none."""
    for value in values:
        # A measurement that comes out as this number by chance must not look like none.
        pixels[pixels == value] = next_to_marked(value, values, pixels.dtype)
    for value, mask in zip(values, masks, strict=False):
        pixels[mask] = value


def _area(tile: Tile, grid: TileGrid) -> tuple[slice, slice]:
    """Lines and samples of a tile's pixels."""
    top, left = tile.row * grid.geometry.tile, tile.column * grid.geometry.tile
    return slice(top, top + tile.lines), slice(left, left + tile.samples)
