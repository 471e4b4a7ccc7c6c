"""Scenes to packets, whatever the model family: what encoders have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from threading import Lock
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.codec.health import Fallback, Health
from hyvic_runtime.codec.rate_control import DownlinkBudget
from hyvic_runtime.codec.scene_encoder import HeldScene, SceneEncoder
from hyvic_runtime.engines.selection import EngineKind, default_workers, usable_cores
from hyvic_runtime.errors import BundleError, EngineError, SceneError
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.packets.space_packet import MAX_GRID, Packetiser, Unit, UnitKind
from hyvic_runtime.packets.tile_prefix import TilePrefix
from hyvic_runtime.scene.marked_samples import Mask, pack_marks
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.scene.tile_grid import Tile, TileGrid

BundleT = TypeVar("BundleT", bound=Bundle)

DEFAULT_QUALITY = 50.0


@dataclass(slots=True)
class StageTimes:
    """Seconds spent a stage, over all tiles and workers so far.

    Attributes:
        tile_input_s: of the caller; where workers help with a row's transform, with its wait for them.
        engine_s: of workers.
        entropy_coder_s: likewise.
        packets_s: of the caller.
    """

    tile_input_s: float = 0.0
    engine_s: float = 0.0
    entropy_coder_s: float = 0.0
    packets_s: float = 0.0


CodedUnit = tuple[UnitKind, int, bytes]
"""Kind, part and octets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileWork:
    """What is to be done with a tile that was read.

    Attributes:
        coded: gives its units from its lead, the one that leads first; raises EngineError where the engine fails, or
            gives what no table codes.
        lossless: gives octets of its samples, exactly.
        beside: gives units that go with the tile, however it is coded.
        release: told when the first two are no longer needed.
    """

    coded: Callable[[TilePrefix], list[CodedUnit]]
    lossless: Callable[[], bytes]
    beside: Callable[[], list[CodedUnit]] = list
    release: Callable[[], object] = lambda: None


@dataclass
class RowEncoder(ABC, Generic[BundleT]):
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

    mean_in_header: ClassVar[bool] = True
    """Whether the scene header carries a mean spectrum."""
    row_by_row: ClassVar[bool] = False
    """Whether a row of tiles, which have no halos, reads its own lines alone, and may do so until all are coded."""

    bundle: BundleT
    engine: EngineKind | None = None
    workers: int = field(default_factory=default_workers)
    cores: int = field(default_factory=usable_cores)
    times: StageTimes = field(default_factory=StageTimes)
    health: Health = field(default_factory=Health)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.workers, "tile")
        self._lock = Lock()  # of times and health, which all workers change
        self._load(self.bundle)

    @abstractmethod
    def _load(self, bundle: BundleT) -> None:
        """Begin to code with a bundle's files; nothing changes where they do not pass the checks."""

    @abstractmethod
    def _stored(self) -> BundleT:
        """The bundle as its files are now."""

    @abstractmethod
    def _is_sound(self, stored: BundleT) -> bool:
        """Whether what is in memory is what those files say, and computes what it did when it was loaded."""

    @property
    @abstractmethod
    def engine_name(self) -> str:
        """Library, version and device that run the encoder's graph."""

    @property
    @abstractmethod
    def entropy_coder_name(self) -> str:
        """Which ANS coder is in use."""

    @abstractmethod
    def bands_of(self, acquisition: Acquisition) -> int:
        """Bands of the scenes that are coded, or of this one.

        Raises:
            SceneError: the bundle does not code such scenes.
        """

    def grid(self, scene: Scene) -> TileGrid:
        """The tiles of a scene, once it is known to fit the bundle.

        Raises:
            SceneError: it does not.
        """
        lines, samples, bands = scene.cube.shape
        self.bands_of(Acquisition(samples=samples, bands=bands, dtype=scene.cube.dtype))
        grid = TileGrid(geometry=self.bundle.manifest.geometry, lines=lines, samples=samples)
        if max(grid.rows, grid.columns) > MAX_GRID:
            raise SceneError(
                f"the scene has {grid.rows} × {grid.columns} tiles; packets number at most {MAX_GRID} a side: cut it"
            )
        return grid

    @abstractmethod
    def mean_spectrum(self, scene: Scene) -> NDArray[np.integer[Any]] | None:
        """What a scene header says of the spectra of a stored scene; None: what is known at its first row."""

    @property
    def subtracts_mean(self) -> bool:
        """Whether a mean spectrum is needed that the acquisition does not give."""
        return False

    @abstractmethod
    def _read(
        self, scene: HeldScene, grid: TileGrid, tile: Tile, mean: NDArray[np.integer[Any]], code: int
    ) -> TileWork:
        """Take from the scene what coding a tile needs; see `submit`."""

    def submit(
        self,
        scene: HeldScene,
        grid: TileGrid,
        tile: Tile,
        mean: NDArray[np.integer[Any]],
        code: int,
        *,
        scene_id: int,
        masks: Sequence[Mask] | None = None,
    ) -> Future[list[Unit]]:
        """Have a tile coded by the next free worker.

        What it reads of the scene is read before this returns, but where the encoder codes `row_by_row`: there lines
        are not to change until the tile is coded. Tiles of a row are submitted one after the other. A tile whose engine
        fails is coded without it, exactly; see `health`.

        Args:
            scene: the lines.
            grid: of the scene.
            tile: which.
            mean: (band,), of the scene's header.
            code: of its quality.
            scene_id: of its units.
            masks: of its marked samples, (line, sample, band) each; None where it has none.
        """
        begun = time.perf_counter()
        work = self._read(scene, grid, tile, mean, code)
        lead = TilePrefix(code=code, marked=masks is not None)
        with self._lock:
            self.times.tile_input_s += time.perf_counter() - begun
            self.health.begin_tile()

        def units() -> list[Unit]:
            made = partial(Unit, scene=scene_id, row=tile.row, column=tile.column)
            try:
                coded = [made(kind=kind, octets=octets, part=part) for kind, part, octets in work.coded(lead)]
            except EngineError as error:
                with self._lock:
                    self.health.fall_back(Fallback(row=tile.row, column=tile.column, reason=str(error)))
                coded = [made(kind=UnitKind.TILE_EXACT, octets=lead.pack() + work.lossless())]
            finally:
                work.release()
            coded += [made(kind=kind, octets=octets, part=part) for kind, part, octets in work.beside()]
            if masks is not None:
                coded.insert(1, made(kind=UnitKind.TILE_MASKS, octets=pack_marks(masks)))
            with self._lock:
                self.health.end_tile()
            return coded

        return self._pool.submit(units)

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
        stored = self._stored()
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

    def health_report(self) -> dict[str, Any]:
        """What goes into housekeeping: what codes, counts, and seconds by stage."""
        with self._lock:
            return {
                "bundle": self.bundle.identity.hex(),
                "engine": self.engine_name,
                "entropy_coder": self.entropy_coder_name,
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
    ) -> SceneEncoder:
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
        return SceneEncoder(self, acquisition, packetiser, self._quality_code(quality), downlink)

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
        lines, samples, bands = scene.cube.shape
        acquisition = Acquisition(
            samples=samples,
            bands=bands,
            dtype=scene.cube.dtype,
            lines=lines,
            mean_spectrum=self.mean_spectrum(scene),
            no_data=scene.no_data,
            saturated=saturated,
            wavelengths=scene.wavelengths,
            georeference=scene.georeference,
            scene_id=scene_id,
        )
        code = self._quality_code(quality)
        push_broom = SceneEncoder(self, acquisition, packetiser, code, None, progressive=progressive)
        tile = self.bundle.manifest.geometry.tile
        for first in range(0, lines, tile):
            yield from push_broom.push_tiles(scene.cube[first : first + tile])
        yield from push_broom.flush_tiles()

    def stream(self, scene: Scene, *, quality: float | None = None) -> bytes:
        """All packets of a scene, numbered from zero; see `tile_packets`."""
        packets = self.tile_packets(scene, Packetiser(), quality=quality)
        return b"".join(packet for tile in packets for packet in tile)


AnyEncoder = RowEncoder[Any]
"""Of any family."""
