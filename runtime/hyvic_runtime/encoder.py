"""Scenes to packets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.acquisition import Acquisition
from hyvic_runtime.bundle import ENCODER, Bundle, read_bundle
from hyvic_runtime.conformance import check_coder, check_encoder, check_entropy_path, encoder_sha256
from hyvic_runtime.encoder_inputs import LineSource, encoder_inputs, gather
from hyvic_runtime.engine_choice import EngineKind, default_workers, load_engine, usable_cores
from hyvic_runtime.entropy_coder import SYMBOL_MAX, SYMBOL_MIN, EntropyCoder
from hyvic_runtime.entropy_path import load_entropy_path
from hyvic_runtime.errors import BundleError, EngineError, SceneError
from hyvic_runtime.health import Fallback, Health
from hyvic_runtime.lossless_tile import LosslessTileCoder
from hyvic_runtime.marked_samples import Mask, pack_marks
from hyvic_runtime.push_broom import PushBroomEncoder
from hyvic_runtime.rate_control import DownlinkBudget
from hyvic_runtime.rate_gains import CODES_PER_OCTAVE, MAX_QUALITY_CODE, quality_code
from hyvic_runtime.scene import Scene, mean_spectrum
from hyvic_runtime.space_packet import MAX_GRID, Packetiser, Unit, UnitKind
from hyvic_runtime.tile_grid import Tile, TileGrid, coded_shape
from hyvic_runtime.tile_units import TileLead

DEFAULT_QUALITY = 50.0


@dataclass(slots=True)
class StageTimes:
    """Seconds spent a stage, over all tiles and workers so far."""

    tile_input_s: float = 0.0
    engine_s: float = 0.0
    entropy_coder_s: float = 0.0
    packets_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSymbols:
    """What the encoder graph made of one tile, cut to what covers the scene.

    Attributes:
        hyperlatent: ẑ, (N, line, sample) int32.
        symbols: (M, line, sample) int32.
        scale_index: (M, line, sample) int32.
    """

    hyperlatent: NDArray[np.int32]
    symbols: NDArray[np.int32]
    scale_index: NDArray[np.int32]


@dataclass
class SceneEncoder:
    """Encodes scenes with one bundle.

    The engines are checked against the bundle's conformance vectors before anything is coded.

    Attributes:
        bundle: what to code with.
        engine: what runs its graphs; None: what the bundle was compiled for.
        workers: tiles to work on at a time, which share the cores; many give a scene the most throughput, and one a
            tile the least latency.
        cores: of the processor that it may keep busy.
        times: where the time went, for reports.
        health: what went well and what did not.
    """

    bundle: Bundle
    engine: EngineKind | None = None
    workers: int = field(default_factory=default_workers)
    cores: int = field(default_factory=usable_cores)
    times: StageTimes = field(default_factory=StageTimes)
    health: Health = field(default_factory=Health)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.workers, "tile")
        self._lock = Lock()  # of times and health, which all workers change
        self._free: list[NDArray[np.float32]] = []  # pixels of tiles that are done, for the next ones
        self._load(self.bundle)

    def _load(self, bundle: Bundle) -> None:
        """Begin to code with a bundle's files; nothing changes where they do not pass the checks."""
        engine = load_engine(bundle, ENCODER, self.engine, workers=self.workers, cores=self.cores)
        entropy_path = load_entropy_path(bundle, self.engine, cores=self.cores)
        check_entropy_path(bundle, entropy_path)
        check_encoder(bundle, engine, entropy_path)
        coder = EntropyCoder(bundle.tables)
        check_coder(bundle, coder)
        engine_sha256 = encoder_sha256(bundle, engine)
        self.bundle, self._engine, self._engine_sha256 = bundle, engine, engine_sha256
        self._coder, self._lossless = coder, LosslessTileCoder(coder, bundle.manifest.scales)

    def scrub(self) -> bool:
        """Check files and memory again, as radiation may have changed them, and load anew what it did.

        The bundle's files are held against its manifest, the tables in memory against the files, and what engine and
        coder make of fixed inputs against what they made of them when they were loaded. Tiles that the engine has by
        then are coded by what was there.

        Returns:
            Whether everything was as it was loaded; if not, it is now.

        Raises:
            BundleError: the files were altered too, or what is loaded anew is wrong as well; what was there stays.
            EngineError: it does not load any more; likewise.
        """
        stored = read_bundle(self.bundle.folder)
        if stored.identity != self.bundle.identity:
            raise BundleError(f"{self.bundle.folder} is another bundle by now; begin again with it")
        sound = self._is_sound(stored)
        with self._lock:
            self.health.scrubs += 1
        if not sound:
            self._load(stored)
            with self._lock:
                self.health.repairs += 1
        return sound

    def _is_sound(self, stored: Bundle) -> bool:
        arrays = [
            (b.tables.first, b.tables.length, b.tables.frequencies, b.gains.values) for b in (stored, self.bundle)
        ]
        try:
            check_coder(stored, self._coder)
            unchanged = encoder_sha256(stored, self._engine) == self._engine_sha256
        except (BundleError, EngineError, ValueError):
            return False
        return unchanged and all(map(np.array_equal, *arrays))

    def health_report(self) -> dict[str, Any]:
        """What goes into housekeeping: what codes, counts, and seconds by stage."""
        with self._lock:
            return {
                "bundle": self.bundle.identity.hex(),
                "engine": self.engine_name,
                "entropy_coder": self._coder.describe(),
                "workers": self.workers,
                **asdict(self.health),
                "stages": asdict(self.times),
            }

    def begin(
        self,
        acquisition: Acquisition,
        packetiser: Packetiser,
        *,
        quality: float | None = None,
        downlink: DownlinkBudget | None = None,
    ) -> PushBroomEncoder:
        """Start a scene whose lines are yet to come.

        Args:
            acquisition: what is known of it.
            packetiser: numbers the packets.
            quality: 0 … 100 from the lowest to the highest rate that the bundle was trained for, LOWEST_QUALITY …
                HIGHEST_QUALITY beyond them; by default the middle.
            downlink: what the packets may take; the quality is then only that of the first attempt.

        Raises:
            SceneError: the scene is not what the bundle codes.
            RateError: the downlink cannot carry a scene header.
            ValueError: a quality that is none, or for a bundle of one rate.
        """
        if downlink is not None:
            self.check_has_rates()
        return PushBroomEncoder(self, acquisition, packetiser, self._quality_code(quality), downlink)

    def _quality_code(self, quality: float | None) -> int:
        if quality is not None:
            self.check_has_rates()
        return quality_code(DEFAULT_QUALITY if quality is None else quality)

    def check_has_rates(self) -> None:
        """Refuse a bundle that has nothing to choose.

        Raises:
            ValueError: it has a single rate.
        """
        if self.bundle.manifest.rates == 1:
            raise ValueError(
                "this bundle has a single rate: leave quality, ratio, budget and fidelity out, or export a checkpoint "
                "of several"
            )

    def tile_packets(
        self,
        scene: Scene,
        packetiser: Packetiser,
        *,
        scene_id: int | None = None,
        quality: float | None = None,
        saturated: int | None = None,
        progressive: bool = False,
    ) -> Iterator[list[bytes]]:
        """Encode a scene, giving with every tile the packets that are ready by then.

        The packets are those of `begin` with the scene's lines and mean spectrum, whatever lines are pushed at a time.

        Args:
            scene: what to encode; a memory-mapped one is read a row of tiles at a time.
            packetiser: numbers the packets.
            scene_id: in every packet of the scene; by default a checksum.
            quality: 0 … 100 from the lowest to the highest rate that the bundle was trained for, LOWEST_QUALITY …
                HIGHEST_QUALITY beyond them; by default the middle.
            saturated: value of samples that had too much light; they are restored exactly.
            progressive: hold the latents until the last tile is coded, and then send them part by part, so that a
                stream cut anywhere lacks late parts everywhere rather than the last tiles.

        Raises:
            SceneError: the scene is not what the bundle codes.
            ValueError: a quality that is none, or for a bundle of one rate.
        """
        grid = self.grid(scene)
        acquisition = Acquisition(
            samples=grid.samples,
            dtype=scene.cube.dtype,
            lines=grid.lines,
            mean_spectrum=self.mean_spectrum(scene),
            no_data=scene.no_data,
            saturated=saturated,
            wavelengths=scene.wavelengths,
            georeference=scene.georeference,
            scene_id=scene_id,
        )
        code = self._quality_code(quality)
        push_broom = PushBroomEncoder(self, acquisition, packetiser, code, None, progressive=progressive)
        for first in range(0, grid.lines, grid.geometry.tile):
            yield from push_broom.push_tiles(scene.cube[first : first + grid.geometry.tile])
        yield from push_broom.flush_tiles()

    def stream(self, scene: Scene, *, quality: float | None = None) -> bytes:
        """All packets of a scene, numbered from zero; see `tile_packets`."""
        packets = self.tile_packets(scene, Packetiser(), quality=quality)
        return b"".join(packet for tile in packets for packet in tile)

    @property
    def engine_name(self) -> str:
        """Library, version and device that run the encoder graph."""
        return self._engine.describe()

    def grid(self, scene: Scene) -> TileGrid:
        """The tiles of a scene, once it is known to fit the bundle."""
        manifest = self.bundle.manifest
        lines, samples, bands = scene.cube.shape
        if bands != manifest.bands:
            raise SceneError(
                f"the scene has {bands} bands and the bundle codes {manifest.bands}; resample it to the bundle's band "
                "centres (encode-scene --resample) or use a bundle made for its sensor"
            )
        grid = TileGrid(geometry=manifest.geometry, lines=lines, samples=samples)
        if max(grid.rows, grid.columns) > MAX_GRID:
            raise SceneError(
                f"the scene has {grid.rows} × {grid.columns} tiles; packets number at most {MAX_GRID} a side: cut it"
            )
        return grid

    def mean_spectrum(self, scene: Scene) -> NDArray[np.integer[Any]]:
        """What is subtracted from the scene's spectra: zero unless the bundle asks for the mean."""
        if self.bundle.manifest.mean_spectrum:
            return mean_spectrum(scene)
        return np.zeros(scene.cube.shape[2], scene.cube.dtype)

    def engine_inputs(
        self,
        scene: LineSource,
        grid: TileGrid,
        tile: Tile,
        mean: NDArray[np.integer[Any]],
        code: int,
        *,
        into: NDArray[np.float32] | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """What the encoder graph takes for one tile; `into` is used for its pixels."""
        pixels = self._pixels() if into is None else into
        gather(pixels[0], scene.cube, grid, tile)
        return encoder_inputs(self.bundle, pixels, mean, code, tile)

    def _pixels(self) -> NDArray[np.float32]:
        window = self.bundle.manifest.geometry.window
        return np.empty((1, window, window, self.bundle.manifest.bands), np.float32)

    def symbols(
        self, scene: Scene, grid: TileGrid, tile: Tile, mean: NDArray[np.integer[Any]], code: int
    ) -> TileSymbols:
        """Run the encoder graph on one tile, at the quality of that code."""
        return self._run_engine(self.engine_inputs(scene, grid, tile, mean, code), tile)

    def submit(
        self,
        scene: LineSource,
        grid: TileGrid,
        tile: Tile,
        mean: NDArray[np.integer[Any]],
        code: int,
        *,
        scene_id: int,
        masks: Sequence[Mask] | None = None,
    ) -> Future[list[Unit]]:
        """Have a tile coded by the next free worker; what it reads of the scene is read before this returns.

        A tile whose engine fails is coded without it, exactly; see `health`.

        Args:
            scene: the lines.
            grid: of the scene.
            tile: which.
            mean: (band,), to subtract.
            code: of its quality.
            scene_id: of its units.
            masks: of its marked samples, (line, sample, band) each; None where it has none.
        """
        begun = time.perf_counter()
        pixels = self._free.pop() if self._free else self._pixels()
        inputs = self.engine_inputs(scene, grid, tile, mean, code, into=pixels)
        with self._lock:
            self.times.tile_input_s += time.perf_counter() - begun
            self.health.begin_tile()

        def units() -> list[Unit]:
            lead = TileLead(code=code, marked=masks is not None)
            made = partial(Unit, scene=scene_id, row=tile.row, column=tile.column)
            try:
                hyperlatent, latents = self._coded(inputs, tile, lead)
                coded = [made(kind=UnitKind.HYPERLATENT, octets=hyperlatent)]
                coded += [made(kind=UnitKind.LATENT, octets=octets, part=part) for part, octets in enumerate(latents)]
            except EngineError as error:
                with self._lock:
                    self.health.fall_back(Fallback(row=tile.row, column=tile.column, reason=str(error)))
                before = grid.geometry.halo_before
                own = pixels[0, before : before + tile.lines, before : before + tile.samples]
                octets = lead.pack() + self._lossless.encode(own.astype(mean.dtype))
                coded = [made(kind=UnitKind.LOSSLESS, octets=octets)]
            finally:
                self._free.append(pixels)
            if masks is not None:
                coded.insert(1, made(kind=UnitKind.MARKS, octets=pack_marks(masks)))
            with self._lock:
                self.health.end_tile()
            return coded

        return self._pool.submit(units)

    def _run_engine(self, inputs: dict[str, NDArray[np.float32]], tile: Tile) -> TileSymbols:
        begun = time.perf_counter()
        outputs = self._engine.run(inputs)
        geometry = self.bundle.manifest.geometry
        hyper, latent = (coded_shape(tile, stride) for stride in (geometry.hyper_stride, geometry.latent_stride))
        with self._lock:
            self.times.engine_s += time.perf_counter() - begun
        return TileSymbols(
            hyperlatent=outputs["hyperlatent"][0, :, : hyper[0], : hyper[1]],
            symbols=outputs["symbols"][0, :, : latent[0], : latent[1]],
            scale_index=outputs["scale_index"][0, :, : latent[0], : latent[1]],
        )

    def _run_within_symbols(
        self, inputs: dict[str, NDArray[np.float32]], tile: Tile, lead: TileLead
    ) -> tuple[TileSymbols, TileLead]:
        """Run the engine, again with coarser steps where those beyond the trained ones make a symbol too large.

        Cut to 16 bits, the strongest latents would lose more than all others gain.

        Raises:
            EngineError: the engine fails, or gives what no table codes.
        """
        while True:
            coded = self._run_engine(inputs, tile)
            self._check_possible(coded)
            if lead.code <= MAX_QUALITY_CODE or not np.isin(coded.symbols, (SYMBOL_MIN, SYMBOL_MAX)).any():
                return coded, lead
            lead = replace(lead, code=max(lead.code - CODES_PER_OCTAVE, MAX_QUALITY_CODE))
            gain, _ = self.bundle.gains.at(lead.code)
            inputs = inputs | {"gain": gain[None]}

    def _coded(self, inputs: dict[str, NDArray[np.float32]], tile: Tile, lead: TileLead) -> tuple[bytes, list[bytes]]:
        """Octets of a tile's hyper-latent unit, and of the units of its latent's parts.

        Raises:
            EngineError: the engine fails, or gives what no table codes.
        """
        coded, lead = self._run_within_symbols(inputs, tile, lead)
        begun = time.perf_counter()
        try:
            hyperlatent = lead.pack() + self._coder.encode(
                coded.hyperlatent.ravel(), hyperlatent_rows(coded.hyperlatent.shape, self.bundle.manifest.scales)
            )
            parts = self.bundle.manifest.parts
            pairs = zip(np.split(coded.symbols, parts), np.split(coded.scale_index, parts), strict=True)
            latents = [self._coder.encode(symbols.ravel(), rows.ravel()) for symbols, rows in pairs]
        except ValueError as error:
            raise EngineError(f"{self.engine_name} gave what cannot be coded ({error})") from error
        with self._lock:
            self.times.entropy_coder_s += time.perf_counter() - begun
        return hyperlatent, latents

    def _check_possible(self, coded: TileSymbols) -> None:
        """Refuse what no sound engine gives: the graph clamps it, and a NaN comes out as the least integer.

        An escape would carry it, cut to 16 bits, and the decoder refuse it or take it for another number.
        """
        scale_index = coded.scale_index
        if not (
            in_tables(coded.hyperlatent, self.bundle)
            and SYMBOL_MIN <= coded.symbols.min() <= coded.symbols.max() <= SYMBOL_MAX
            and 0 <= scale_index.min() <= scale_index.max() < self.bundle.manifest.scales
        ):
            raise EngineError(f"{self.engine_name} gave symbols or scale indices that are none")


def in_tables(hyperlatent: NDArray[np.int32], bundle: Bundle) -> bool:
    """Whether all of a ẑ, (N, line, sample), lies within its tables, which is what the integer network is exact for."""
    first = bundle.tables.first[bundle.manifest.scales :, None, None]
    last = first + bundle.tables.length[bundle.manifest.scales :, None, None] - 1
    return bool(((first <= hyperlatent) & (hyperlatent <= last)).all())


def hyperlatent_rows(shape: tuple[int, ...], scales: int) -> NDArray[np.intp]:
    """Frequency-table row of every element of a raveled (N, line, sample) ẑ: channels follow the scales."""
    return np.repeat(np.arange(scales, scales + shape[0]), shape[1] * shape[2])
