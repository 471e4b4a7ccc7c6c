"""Units to scenes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.arrival import check_plausible
from hyvic_runtime.bundle import DECODER, Bundle
from hyvic_runtime.conformance import check_coder, check_entropy_path
from hyvic_runtime.engine_choice import EngineKind, default_workers, load_engine, usable_cores
from hyvic_runtime.entropy_coder import EntropyCoder
from hyvic_runtime.entropy_path import load_entropy_path
from hyvic_runtime.errors import DecodeError, LostTilesError
from hyvic_runtime.lossless_tile import LosslessTileCoder
from hyvic_runtime.lost_end import lines_without_end, without_lines_behind_the_end
from hyvic_runtime.marked_samples import Mask, unpack_marks
from hyvic_runtime.packet_security import PacketOpener, Refusal
from hyvic_runtime.quality_map import Quality, pixel_quality
from hyvic_runtime.received_units import ReceivedStream, ReceivedUnits, UnitKey, damage_clause, receive
from hyvic_runtime.scene import Cube, Scene, next_to_marked
from hyvic_runtime.scene_header import SceneHeader
from hyvic_runtime.space_packet import MAX_GRID, Damage, UnitKind
from hyvic_runtime.tile_grid import Tile, TileGrid
from hyvic_runtime.tile_latents import TileLatentDecoder, TileLatents, Units
from hyvic_runtime.tile_units import LEAD_OCTETS, unpack_tile_lead
from hyvic_runtime.tile_workers import in_order

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


@dataclass
class SceneDecoder:
    """Decodes streams of one bundle.

    Attributes:
        bundle: what the streams were coded with.
        engine: what runs its graphs; None: what the bundle was compiled for.
        workers: tiles to work on at a time, which share the cores.
        cores: of the processor that it may keep busy.
        times: where the time went, for reports.
    """

    bundle: Bundle
    engine: EngineKind | None = None
    workers: int = field(default_factory=default_workers)
    cores: int = field(default_factory=usable_cores)
    times: StageTimes = field(default_factory=StageTimes)

    def __post_init__(self) -> None:
        share = {"workers": self.workers, "cores": self.cores}
        entropy_path = load_entropy_path(self.bundle, self.engine, **share)
        check_entropy_path(self.bundle, entropy_path)
        self._decoder = load_engine(self.bundle, DECODER, self.engine, **share)
        self._lock = Lock()  # of the times, which all workers add to
        self._coder = EntropyCoder(self.bundle.tables)
        self._lossless = LosslessTileCoder(self._coder, self.bundle.manifest.scales)
        check_coder(self.bundle, self._coder)
        self._tiles = TileLatentDecoder(
            bundle=self.bundle, entropy_path=entropy_path, coder=self._coder, took=self._took
        )

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
            tile = self.bundle.manifest.geometry.tile
            header = replace(header, lines=lines_without_end(received, tile, conceal=conceal))
        grid = self._grid(header)
        check_plausible(grid, received, parts=self.bundle.manifest.parts, conceal=conceal)
        if received.header.lines == 0:
            units, workers = received.units, self.workers
            grid = without_lines_behind_the_end(grid, units, lambda tile: self._decodes(tile, units), workers)
        mosaic, tile_quality, reasons = self._mosaic(grid, received)
        cube = np.empty((grid.lines, grid.samples, self.bundle.manifest.bands), header.mean_spectrum.dtype)
        lossless = self._put_lossless(grid, cube, received, reasons)
        unmarked = self._unmarked_tiles(grid, header, received)
        reasons += unmarked.values()
        if reasons and not conceal:
            raise LostTilesError(lost=len(reasons), tiles=grid.rows * grid.columns, reason=reasons[0])
        if received.damage and not conceal:
            clause = damage_clause(received.damage)
            raise DecodeError(f"every tile is whole{clause}; pass --conceal to accept it")
        quality = pixel_quality(tile_quality, grid)
        for row, column in lossless:
            quality[_area(grid.tile(row, column), grid)] = Quality.EXACT
        if received.header.lines == 0:
            # The last latents decode alike wherever within them the scene ended.
            invented = grid.geometry.latent_stride - 1
            quality[grid.lines - invented :] = np.minimum(quality[grid.lines - invented :], Quality.MEANS)
        for row, column in unmarked:
            area = _area(grid.tile(row, column), grid)
            quality[area] = np.minimum(quality[area], Quality.AFFECTED)

        def picture(tile: Tile) -> None:
            pixels = cube[_area(tile, grid)]
            if (tile.row, tile.column) not in lossless:
                pixels[:] = self._synthesised(grid, tile, mosaic, header.mean_spectrum)
            masks = [] if (tile.row, tile.column) in unmarked else self._masks(tile, header, received)
            _put_marks(pixels, header.marked_values, masks)

        for done, _ in enumerate(in_order(picture, grid, self.workers), start=1):
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
        tiles = [tile for tile in grid if UnitKey.of(UnitKind.LOSSLESS, tile) in received.units]

        def put(tile: Tile) -> str | None:
            unit = received.units[UnitKey.of(UnitKind.LOSSLESS, tile)]
            try:
                unpack_tile_lead(unit)
                cube[_area(tile, grid)] = self._lossless_pixels(unit, tile, cube.dtype)
            except DecodeError as error:
                return f"tile {tile.row}, {tile.column}: {error}"
            return None

        problems = list(in_order(put, tiles, self.workers))
        reasons += [problem for problem in problems if problem is not None]
        return {(tile.row, tile.column) for tile, problem in zip(tiles, problems, strict=True) if problem is None}

    def _lossless_pixels(self, unit: bytes, tile: Tile, dtype: np.dtype[Any]) -> Cube:
        shape = (tile.lines, tile.samples, self.bundle.manifest.bands)
        return self._lossless.decode(unit[LEAD_OCTETS:], shape, dtype)

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
        leads = (UnitKey.of(kind, tile) for kind in (UnitKind.LOSSLESS, UnitKind.HYPERLATENT))
        lead = next((received.units[key] for key in leads if key in received.units), None)
        unit = received.units.get(UnitKey.of(UnitKind.MARKS, tile))
        if unit is None:
            # Without its hyper-latent the tile is lost anyway.
            if lead is not None and len(lead) >= LEAD_OCTETS and unpack_tile_lead(lead).marked:
                raise DecodeError("its marks did not arrive whole")
            return []
        shape = (tile.lines, tile.samples, self.bundle.manifest.bands)
        return unpack_marks(unit, count=len(header.marked_values), shape=shape)

    def tile_latents(self, units: Units, tile: Tile) -> TileLatents:
        """Decode one tile's units; see `TileLatentDecoder`."""
        return self._tiles.decode(units, tile)

    def _decodes(self, tile: Tile, units: Units) -> bool:
        """Whether a tile's units hold as many lines as it has, and nothing else."""
        try:
            unit = units.get(UnitKey.of(UnitKind.LOSSLESS, tile))
            if unit is None:
                return self.tile_latents(units, tile).parts > 0
            self._lossless_pixels(unit, tile, np.dtype(np.uint16))
        except DecodeError:
            return False
        return True

    def _grid(self, header: SceneHeader) -> TileGrid:
        manifest = self.bundle.manifest
        if header.bundle_id != self.bundle.stream_id:
            raise DecodeError(
                f"the stream was coded with bundle {header.bundle_id.hex()}, this is bundle "
                f"{self.bundle.stream_id.hex()}; decode it with the bundle that encoded it"
            )
        bands = header.mean_spectrum.size
        if bands != manifest.bands:
            raise DecodeError(f"the stream announces {bands} bands, its bundle codes {manifest.bands}")
        grid = TileGrid(geometry=manifest.geometry, lines=header.lines, samples=header.samples)
        if max(grid.rows, grid.columns) > MAX_GRID:
            raise DecodeError(f"the scene header announces {grid.rows} × {grid.columns} tiles; none has so many")
        return grid

    def _mosaic(
        self, grid: TileGrid, received: ReceivedUnits
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[str]]:
        """All latents of the scene, (M, line, sample), `Quality` by tile (row, column), and why some are not exact."""
        geometry = grid.geometry
        stride, size = geometry.latent_stride, geometry.latents
        mosaic = np.zeros(
            (self.bundle.manifest.latent_channels, -(-grid.lines // stride), -(-grid.samples // stride)), np.float32
        )
        quality = np.full((grid.rows, grid.columns), Quality.LOST, np.uint8)

        def place(tile: Tile) -> str | None:
            if UnitKey.of(UnitKind.LOSSLESS, tile) in received.units:
                return None  # it has no latents
            try:
                decoded = self.tile_latents(received.units, tile)
            except DecodeError as error:
                return str(error)
            line, sample = tile.row * size, tile.column * size
            _, lines, samples = decoded.latent.shape
            mosaic[:, line : line + lines, sample : sample + samples] = decoded.latent
            quality[tile.row, tile.column] = decoded.quality
            return decoded.problem

        reasons = [problem for problem in in_order(place, grid, self.workers) if problem is not None]
        if reasons:
            reasons[0] += damage_clause(received.damage)
        return mosaic, quality, reasons

    def _synthesised(
        self, grid: TileGrid, tile: Tile, mosaic: NDArray[np.float32], mean: NDArray[np.integer[Any]]
    ) -> NDArray[np.integer[Any]]:
        """A tile's pixels, (line, sample, band)."""
        lines = _latent_window(tile.row, mosaic.shape[1], grid)
        samples = _latent_window(tile.column, mosaic.shape[2], grid)
        begun = time.perf_counter()
        outputs = self._decoder.run({"latent": np.ascontiguousarray(mosaic[None][:, :, lines][..., samples])})
        self._took(time.perf_counter() - begun, 0.0)
        return digital_numbers(outputs["reconstruction"][0, : tile.lines, : tile.samples], mean)


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


def _latent_window(index: int, size: int, grid: TileGrid) -> NDArray[np.intp]:
    """Latents that a tile's synthesis reads along an axis; beyond the mosaic its edge is repeated."""
    geometry = grid.geometry
    start = index * geometry.latents - geometry.latent_halo_before
    return np.clip(np.arange(start, start + geometry.latent_window), 0, size - 1)


def digital_numbers(reconstruction: NDArray[np.float32], mean: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Add the mean spectrum to (line, sample, band) and round to its type."""
    limits = np.iinfo(mean.dtype)
    spectra = reconstruction + mean.astype(np.float32)
    np.rint(spectra, out=spectra)
    np.clip(spectra, limits.min, limits.max, out=spectra)
    return spectra.astype(mean.dtype)
