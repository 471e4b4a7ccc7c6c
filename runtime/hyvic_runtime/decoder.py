"""Units to scenes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import IntEnum
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.bundle import DECODER, Bundle
from hyvic_runtime.conformance import check_coder, check_entropy_path
from hyvic_runtime.encoder import hyperlatent_rows, in_tables
from hyvic_runtime.engine_choice import EngineKind, default_workers, load_engine, usable_cores
from hyvic_runtime.entropy_coder import EntropyCoder
from hyvic_runtime.entropy_path import load_entropy_path
from hyvic_runtime.errors import DecodeError, LostTilesError
from hyvic_runtime.lossless_tile import LosslessTileCoder
from hyvic_runtime.marked_samples import Mask, unpack_marks
from hyvic_runtime.packet_security import PacketOpener, Refusal
from hyvic_runtime.received_units import ReceivedStream, ReceivedUnits, UnitKey, damage_clause, receive
from hyvic_runtime.scene import Cube, Scene, next_to_marked
from hyvic_runtime.scene_header import MAX_LINES, SceneHeader
from hyvic_runtime.space_packet import MAX_GRID, Damage, UnitKind
from hyvic_runtime.tile_grid import Tile, TileGrid, coded_shape
from hyvic_runtime.tile_units import LEAD_OCTETS, unpack_tile_lead
from hyvic_runtime.tile_workers import in_order

Progress = Callable[[int, int], None]

MAX_CONCEALED_SHARE = 16
"""Tiles that are reconstructed for each unit that arrived: a scene of which less is left is refused."""


class Quality(IntEnum):
    """How a pixel was made; the values of a quality map."""

    LOST = 0
    """Nothing of its tile arrived."""
    MEANS = 1
    """Only ẑ arrived: the latents are their predicted means. Or, of a scene whose end is lost, past it perhaps."""
    AFFECTED = 2
    """Its own tile is exact, but its synthesis reads latents of one that is not."""
    EXACT = 3
    """As the encoder meant it."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TileLatents:
    """What one tile's packets hold.

    Attributes:
        latent: ŷ = (symbols + means) · inverse gain, (M, line, sample) float32.
        symbols: (M, line, sample) int32; None where only ẑ arrived whole.
        quality: EXACT, or MEANS where the symbols are missing.
        problem: why they are missing.
    """

    latent: NDArray[np.float32]
    symbols: NDArray[np.int32] | None
    quality: Quality
    problem: str | None


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
        self._entropy_path = load_entropy_path(self.bundle, self.engine, **share)
        check_entropy_path(self.bundle, self._entropy_path)
        self._decoder = load_engine(self.bundle, DECODER, self.engine, **share)
        self._lock = Lock()  # of the times, which all workers add to
        self._coder = EntropyCoder(self.bundle.tables)
        self._lossless = LosslessTileCoder(self._coder, self.bundle.manifest.scales)
        check_coder(self.bundle, self._coder)

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
            header = replace(header, lines=self._lines_without_end(received, conceal=conceal))
        grid = self._grid(header)
        _check_plausible(grid, received, conceal=conceal)
        if received.header.lines == 0:
            grid = self._without_lines_behind_the_end(grid, received.units)
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
        quality = _pixel_quality(tile_quality, grid)
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

    def tile_latents(self, units: dict[UnitKey, bytes], tile: Tile) -> TileLatents:
        """Decode one tile's units; each tile on its own.

        Raises:
            DecodeError: its ẑ is missing or damaged.
        """
        manifest, geometry = self.bundle.manifest, self.bundle.manifest.geometry
        begun = time.perf_counter()
        hyper_unit = units.get(UnitKey.of(UnitKind.HYPERLATENT, tile))
        if hyper_unit is None:
            raise DecodeError(f"tile {tile.row}, {tile.column}: its hyper-latent did not arrive whole")
        try:
            lead = unpack_tile_lead(hyper_unit)
        except DecodeError as error:
            raise DecodeError(f"tile {tile.row}, {tile.column}: {error}") from error
        shape = (manifest.hyperlatent_channels, *coded_shape(tile, geometry.hyper_stride))
        rows = hyperlatent_rows(shape, manifest.scales)
        values = self._coder.decode(hyper_unit[LEAD_OCTETS:], rows).reshape(shape)
        if not in_tables(values, self.bundle):  # an escape beyond is no encoder's
            raise DecodeError("a hyper-latent lies outside its table; its packets are damaged")
        hyperlatent = np.zeros((shape[0], geometry.hyperlatents, geometry.hyperlatents), np.int32)
        hyperlatent[:, : shape[1], : shape[2]] = values
        coding_s, walking = time.perf_counter() - begun, time.perf_counter()
        lines, samples = coded_shape(tile, geometry.latent_stride)
        symbols: NDArray[np.int32] | None = None
        problem: str | None = None
        latent_unit = units.get(UnitKey.of(UnitKind.LATENT, tile))

        def code(
            _part: int, scale_index: NDArray[np.int32], _mean_steps: NDArray[np.int32]
        ) -> NDArray[np.int32] | None:
            nonlocal symbols, problem, coding_s
            begun = time.perf_counter()
            rows = scale_index[:, :lines, :samples]
            try:
                if lead.latent_left_out:
                    raise DecodeError("its sender left out the latent to keep its budget")
                if latent_unit is None:
                    raise DecodeError("its latent did not arrive whole")
                symbols = self._coder.decode(latent_unit, rows.ravel()).reshape(rows.shape)
            except DecodeError as error:
                problem = f"tile {tile.row}, {tile.column}: {error}"
                return None
            coded = np.zeros_like(scale_index)
            coded[:, :lines, :samples] = symbols
            coding_s += time.perf_counter() - begun
            return coded

        walked = self._entropy_path.walk(hyperlatent, code)
        with self._lock:
            self.times.engine_s += time.perf_counter() - walking
            self.times.entropy_coder_s += coding_s
        latent = walked.latent_steps[:, :lines, :samples].astype(np.float32)
        latent *= np.float32(2.0**-manifest.mean_step_bits)
        _, inverse_gain = self.bundle.gains.at(lead.code)
        latent *= inverse_gain
        quality = Quality.EXACT if problem is None else Quality.MEANS
        return TileLatents(latent=latent, symbols=symbols, quality=quality, problem=problem)

    def _lines_without_end(self, received: ReceivedUnits, *, conceal: bool) -> int:
        """Lines of the rows of tiles that arrived, of a scene that was to tell them at its end."""
        rows = [key.row + 1 for key in received.units]
        if not conceal or not rows:
            clause = damage_clause(received.damage)
            raise DecodeError(
                f"the scene's end did not arrive, so its number of lines is not known{clause}; send the scene again, "
                "or pass --conceal to take it as what did"
            )
        return min(max(rows) * self.bundle.manifest.geometry.tile, MAX_LINES)

    def _without_lines_behind_the_end(self, grid: TileGrid, units: dict[UnitKey, bytes]) -> TileGrid:
        """The grid, its last row of tiles as high as it was coded, up to a latent.

        ANS goes on where its words end, so the units of a tile that the scene's end cut decode as a whole one too, as
        noise. With fewer lines than it has they never do: something is left over.
        """
        size, stride = grid.geometry.tile, grid.geometry.latent_stride
        last = [grid.tile(grid.rows - 1, column) for column in range(grid.columns)]
        lossless = [tile for tile in last if UnitKey.of(UnitKind.LOSSLESS, tile) in units]
        latent = [tile for tile in last if UnitKey.of(UnitKind.LATENT, tile) in units]

        def least(tile: Tile) -> int:
            step = 1 if tile in lossless else stride
            cuts = (replace(tile, lines=lines) for lines in range(step, tile.lines + 1, step))
            return next((cut.lines for cut in cuts if self._decodes(cut, units)), 0)

        # A lossless tile says it to the line, and takes long: one of them is enough.
        lines = max(in_order(least, lossless[:1] or latent, self.workers), default=0)
        return replace(grid, lines=(grid.rows - 1) * size + lines) if lines else grid

    def _decodes(self, tile: Tile, units: dict[UnitKey, bytes]) -> bool:
        """Whether a tile's units hold as many lines as it has, and nothing else."""
        try:
            unit = units.get(UnitKey.of(UnitKind.LOSSLESS, tile))
            if unit is None:
                return self.tile_latents(units, tile).symbols is not None
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
        with self._lock:
            self.times.engine_s += time.perf_counter() - begun
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


def _check_plausible(grid: TileGrid, received: ReceivedUnits, *, conceal: bool) -> None:
    """Refuse, before memory is taken for it, a scene of which too little arrived."""
    tiles = grid.rows * grid.columns
    coded = (UnitKind.HYPERLATENT, UnitKind.LATENT, UnitKind.LOSSLESS)
    kinds = Counter(key.kind for key in received.units if key.row < grid.rows and key.column < grid.columns)
    units = sum(kinds[kind] for kind in coded)
    if conceal and tiles > MAX_CONCEALED_SHARE * (units + 1):
        raise DecodeError(f"the scene header announces {tiles} tiles and only {units} units arrived")
    sent = 2 * tiles - _latents_left_out(grid, received) - kinds[UnitKind.LOSSLESS]
    if not conceal and sent > units:
        reason = f"{units} of {sent} units arrived whole{damage_clause(received.damage)}"
        raise LostTilesError(lost=-(-(sent - units) // 2), tiles=tiles, reason=reason)


def _latents_left_out(grid: TileGrid, received: ReceivedUnits) -> int:
    """Latent units that, by the tiles' hyper-latents, were never sent."""
    count = 0
    for key, octets in received.units.items():
        if key.kind == UnitKind.HYPERLATENT and key.row < grid.rows and key.column < grid.columns:
            # What else may be wrong with the lead, the tile's decoding says.
            with suppress(DecodeError):
                latent = key._replace(kind=UnitKind.LATENT)
                count += unpack_tile_lead(octets).latent_left_out and latent not in received.units
    return count


def _pixel_quality(tile_quality: NDArray[np.uint8], grid: TileGrid) -> NDArray[np.uint8]:
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
