"""Units to scenes, whatever the codec family: what scene decoders have in common.

packets ──receive──▶ units ─▶ extent ─▶ │ tiles: latents or coefficients │ ─▶ │ pixels, tile by tile │ ─▶ marks
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.bundle import BundleT, BundleUser
from hyvic_runtime.codec.conformance import check_coder
from hyvic_runtime.codec.exact_tile import ExactTileCoder
from hyvic_runtime.codec.quality_map import Quality, pixel_quality
from hyvic_runtime.errors import DecodeError, LostTilesError
from hyvic_runtime.packets.completeness import lines_without_end
from hyvic_runtime.packets.protection import PacketOpener, Refusal
from hyvic_runtime.packets.reassembly import ReceivedStream, ReceivedUnits, UnitKey, damage_clause, receive
from hyvic_runtime.packets.scene_header import SceneHeader
from hyvic_runtime.packets.space_packet import MAX_GRID, Damage, UnitKind
from hyvic_runtime.packets.tile_prefix import PREFIX_OCTETS, unpack_tile_prefix
from hyvic_runtime.scene.marked_samples import Mask, unpack_marks
from hyvic_runtime.scene.scene import Cube, Scene, next_to_marked
from hyvic_runtime.scene.tile_grid import Tile, TileGrid
from hyvic_runtime.support.ordered_map import ordered_map

CodedT = TypeVar("CodedT")
"""Latents or coefficients of all tiles of a scene."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedScene:
    """A reconstruction.

    Attributes:
        scene_id: identifier that the sender gave, 0..2**32 - 1.
        scene: cube in the original type, with the scene's wavelengths or the bundle's.
        quality: (line, sample) uint8 of `Quality`.
        damage: places where the stream is damaged.
        refused: number of undamaged packets that were dropped, by the reason.
        strays: number of dropped packets of scenes that have no header, by the scene.
    """

    scene_id: int
    scene: Scene
    quality: NDArray[np.uint8]
    damage: tuple[Damage, ...]
    refused: dict[Refusal, int]
    strays: dict[int, int]


@dataclass(slots=True)
class StageTimes:
    """Seconds spent in each stage, over all tiles and workers so far."""

    packets_s: float = 0.0
    entropy_coder_s: float = 0.0
    engine_s: float = 0.0


Place = tuple[int, int]
"""Row and column of a tile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedTiles(Generic[CodedT]):
    """The tiles of a scene, before the picture is made.

    Attributes:
        coded: latents or coefficients of the tiles.
        quality: (row, column) uint8 of `Quality`.
        problems: reasons why tiles are not exact.
    """

    coded: CodedT
    quality: NDArray[np.uint8]
    problems: tuple[str, ...]


@dataclass
class SceneDecoder(BundleUser[BundleT], ABC, Generic[BundleT, CodedT]):
    """Decodes streams of one bundle; see `BundleUser`.

    Attributes:
        times: seconds by stage, for reports.
    """

    times: StageTimes = field(default_factory=StageTimes)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._coder = self.bundle.entropy_coder(self.kernels)
        self._exact = ExactTileCoder(self._coder, self.bundle.manifest.scales)
        check_coder(self.bundle, self._coder)
        self._load()

    @abstractmethod
    def _load(self) -> None:
        """Load and check the engines."""

    @abstractmethod
    def _check_header(self, header: SceneHeader) -> None:
        """Refuse a header that the bundle's encoder does not write.

        Raises:
            DecodeError: the header is such.
        """

    @abstractmethod
    def _check_arrival(self, grid: TileGrid, received: ReceivedUnits, *, conceal: bool) -> None:
        """Refuse a scene of which too little arrived, before memory is taken for it; see `completeness`."""

    @abstractmethod
    def _cut_at_end(self, grid: TileGrid, received: ReceivedUnits) -> tuple[TileGrid, int]:
        """Find out how far a scene reaches whose end did not arrive.

        Args:
            grid: whole rows of tiles.
            received: units of the scene.

        Returns:
            The grid, its last row as high as it was coded; and how many of the last lines may lie after the end.
        """

    @abstractmethod
    def _decoded(self, grid: TileGrid, received: ReceivedUnits) -> DecodedTiles[CodedT]:
        """Decode all tiles except exact ones, which count as LOST here and are no problem."""

    def _pixel_quality(self, tile_quality: NDArray[np.uint8], grid: TileGrid) -> NDArray[np.uint8]:
        """Return `Quality` by pixel, (line, sample), from that by tile."""
        return pixel_quality(tile_quality, grid)

    @abstractmethod
    def _synthesise(
        self, grid: TileGrid, tiles: CodedT, header: SceneHeader, cube: Cube, skip: Container[Place]
    ) -> Iterator[Tile]:
        """Write the pixels of every tile into the scene, and give each tile when its pixels are there.

        Args:
            grid: tiles of the scene.
            tiles: latents or coefficients of the tiles.
            header: header of the scene.
            cube: (line, sample, band), written to.
            skip: places of tiles whose pixels are in the scene already.
        """

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
            scene_id: scene to reconstruct; None: the only one.
            conceal: reconstruct even if tiles are missing, marking them in the quality map, instead of raising.
            key: key of a protected stream; packets that it does not open are dropped, and so are unprotected ones.
            progress: called with the number of tiles reconstructed so far and in all.

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
        grid, uncertain = self._extent(received, conceal=conceal)
        tiles = self._decoded(grid, received)
        cube = _empty_cube(grid, header)
        exact, exact_problems = self._put_exact_tiles(grid, cube, received)
        problems = [*tiles.problems, *exact_problems]
        if not conceal and (problems or received.damage):
            problems += (problem for tile in grid if (problem := self._mask_problem(tile, header, received)))
            _refuse(problems, grid, received)
        unmarked: dict[Place, str] = {}
        for done, tile in enumerate(self._synthesise(grid, tiles.coded, header, cube, exact), start=1):
            masks: Sequence[Mask] = ()
            try:
                masks = self._masks(tile, header, received)
            except DecodeError as error:
                unmarked[tile.row, tile.column] = f"{tile}: {error}"
            _put_marks(cube[grid.area(tile)], header.marked_values, masks)
            progress(done, grid.rows * grid.columns)
        if unmarked and not conceal:
            _refuse(list(unmarked.values()), grid, received)
        quality = self._pixel_quality(tiles.quality, grid)
        for row, column in exact:
            quality[grid.area(grid.tile(row, column))] = Quality.EXACT
        quality[grid.lines - uncertain :] = np.minimum(quality[grid.lines - uncertain :], Quality.MEANS)
        for row, column in unmarked:
            area = grid.area(grid.tile(row, column))
            quality[area] = np.minimum(quality[area], Quality.AFFECTED)
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
            strays={scene: headerless.packets for scene, headerless in stream.headerless.items()},
        )

    def _extent(self, received: ReceivedUnits, *, conceal: bool) -> tuple[TileGrid, int]:
        """Return the tiles of a scene, and how many of its last lines may lie after its end."""
        header, tile = received.header, self.bundle.manifest.geometry.tile
        if header.lines > 0:
            grid = self._grid(header)
            self._check_arrival(grid, received, conceal=conceal)
            return grid, 0
        grid = self._grid(replace(header, lines=lines_without_end(received, tile, conceal=conceal)))
        self._check_arrival(grid, received, conceal=conceal)
        return self._cut_at_end(grid, received)

    def _put_exact_tiles(self, grid: TileGrid, cube: Cube, received: ReceivedUnits) -> tuple[set[Place], list[str]]:
        """Put in the tiles that the encoder's engine failed on; return their places, and why others are lost."""
        tiles = [tile for tile in grid if UnitKey.of(UnitKind.TILE_EXACT, tile) in received.units]

        def put(tile: Tile) -> str | None:
            unit = received.units[UnitKey.of(UnitKind.TILE_EXACT, tile)]
            try:
                unpack_tile_prefix(unit)
                cube[grid.area(tile)] = self._exact_pixels(unit, tile, cube.shape[2], cube.dtype)
            except DecodeError as error:
                return f"{tile}: {error}"
            return None

        problems = list(ordered_map(put, tiles, self.workers))
        exact = {(tile.row, tile.column) for tile, problem in zip(tiles, problems, strict=True) if problem is None}
        return exact, [problem for problem in problems if problem is not None]

    def _exact_pixels(self, unit: bytes, tile: Tile, bands: int, dtype: np.dtype[Any]) -> Cube:
        return self._exact.decode(unit[PREFIX_OCTETS:], (tile.lines, tile.samples, bands), dtype)

    def _mask_problem(self, tile: Tile, header: SceneHeader, received: ReceivedUnits) -> str | None:
        try:
            self._masks(tile, header, received)
        except DecodeError as error:
            return f"{tile}: {error}"
        return None

    def _masks(self, tile: Tile, header: SceneHeader, received: ReceivedUnits) -> list[Mask]:
        """Return a tile's marked samples, a mask for each marked value of the scene; none where the tile has none.

        Raises:
            DecodeError: the masks did not arrive, or not as they were sent.
        """
        keys = (UnitKey.of(kind, tile) for kind in (UnitKind.TILE_EXACT, UnitKind.TILE_BASE))
        base = next((received.units[key] for key in keys if key in received.units), None)
        unit = received.units.get(UnitKey.of(UnitKind.TILE_MASKS, tile))
        if unit is None:
            # Without its base unit the tile is lost anyway.
            if base is not None and len(base) >= PREFIX_OCTETS and unpack_tile_prefix(base).marked:
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
"""Decoder of any family."""


def _refuse(problems: list[str], grid: TileGrid, received: ReceivedUnits) -> NoReturn:
    """Refuse a scene that is not whole.

    Raises:
        LostTilesError: tiles have problems.
        DecodeError: every tile is whole, and the stream is damaged.
    """
    clause = damage_clause(received.damage)
    if problems:
        raise LostTilesError(lost=len(problems), tiles=grid.rows * grid.columns, reason=problems[0] + clause)
    raise DecodeError(f"every tile is whole{clause}; pass --conceal to accept it")


def _empty_cube(grid: TileGrid, header: SceneHeader) -> Cube:
    """Take the memory of a scene, (line, sample, band).

    Raises:
        DecodeError: there is not enough, as a bad header may announce any size.
    """
    shape = (grid.lines, grid.samples, header.bands)
    try:
        return np.empty(shape, header.dtype)
    except MemoryError as error:
        size = f"{grid.lines} × {grid.samples} × {header.bands}"
        raise DecodeError(f"the scene header announces {size} samples, and there is no memory for them") from error


def _put_marks(pixels: NDArray[np.integer[Any]], values: tuple[int, ...], masks: Sequence[Mask]) -> None:
    """Put a tile's marked values where its masks say, and nowhere else; without masks the tile has none."""
    for value in values:
        # A measurement that comes out as this number by chance must not look like none.
        pixels[pixels == value] = next_to_marked(value, values, pixels.dtype)
    for value, mask in zip(values, masks, strict=False):
        pixels[mask] = value
