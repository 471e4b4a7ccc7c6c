"""Rows of tiles to units, whatever the codec family: what row encoders have in common.

scene encoder ──strip──▶ row encoder ──tile jobs──▶ │ a worker each: engine, entropy coder │ ──▶ units
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.bundle import BundleT, BundleUser
from hyvic_runtime.codec.conformance import check_coder
from hyvic_runtime.codec.exact_tile import ExactTileCoder
from hyvic_runtime.codec.health import Fallback, Health
from hyvic_runtime.codec.strip import Strip
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.errors import BundleError, EngineError, SceneError
from hyvic_runtime.packets.space_packet import MAX_GRID, UnitKind
from hyvic_runtime.packets.tile_prefix import TilePrefix
from hyvic_runtime.scene.marked_samples import pack_marks
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.scene.tile_grid import Tile, TileGrid


@dataclass(slots=True)
class StageTimes:
    """Seconds spent in each stage, over all tiles and workers so far.

    Attributes:
        tile_input_s: gathering pixels, and a strip's transform with its wait for workers.
        engine_s: running the engine, by workers.
        entropy_coder_s: coding symbols, by workers.
        packets_s: making packets, by the caller.
    """

    tile_input_s: float = 0.0
    engine_s: float = 0.0
    entropy_coder_s: float = 0.0
    packets_s: float = 0.0


CodedUnit = tuple[UnitKind, int, bytes]
"""Kind, part and octets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileJob:
    """Work on one tile.

    Attributes:
        tile: tile of the strip.
        code: makes the tile's units from its prefix, the unit that holds the prefix first; raises EngineError where
            the engine fails, or gives what no table codes.
        strip_units: makes units of the whole strip that travel with this tile, however the tile is coded.
    """

    tile: Tile
    code: Callable[[TilePrefix], list[CodedUnit]]
    strip_units: Callable[[], list[CodedUnit]] = list


EncodeRow = Callable[[int], Iterator[tuple[Tile, Future[list[CodedUnit]]]]]
"""Gives each tile of a row at a quality code, left to right, with the units that come of it. A tile begins when it is
asked for."""


@dataclass
class RowEncoder(BundleUser[BundleT], ABC):
    """Encodes rows of tiles with one bundle; see `BundleUser`.

    The engines are checked against the bundle's conformance vectors before anything is coded.

    Attributes:
        times: seconds by stage, for reports.
        health: counts of tiles, failures and repairs.
    """

    writes_mean: ClassVar[bool]
    """True if the scene header carries the mean spectrum that the encoder subtracts."""

    times: StageTimes = field(default_factory=StageTimes)
    health: Health = field(default_factory=Health)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._pool = ThreadPoolExecutor(self.workers, "tile")
        self._begin(self.bundle)

    def _begin(self, bundle: BundleT) -> None:
        """Begin to code with a bundle's files; nothing changes if they fail a check."""
        coder = bundle.entropy_coder(self.kernels)
        check_coder(bundle, coder)
        self._load(bundle, coder)
        self.bundle, self._coder = bundle, coder
        self._exact = ExactTileCoder(coder, bundle.manifest.scales)

    @abstractmethod
    def _load(self, bundle: BundleT, coder: EntropyCoder) -> None:
        """Load and check the engine; nothing changes if it fails a check."""

    @abstractmethod
    def _stored(self) -> BundleT:
        """Read the bundle anew from its files."""

    @abstractmethod
    def _is_engine_sound(self, stored: BundleT) -> bool:
        """Return True if the engine holds what the files say, and computes what it did when it was loaded.

        Raises:
            BundleError: it computes something else.
            EngineError: it fails.
        """

    def _is_sound(self, stored: BundleT) -> bool:
        """Return True if memory holds what the files say, and computes what it did when it was loaded."""
        tables = [(b.tables.first, b.tables.length, b.tables.frequencies) for b in (stored, self.bundle)]
        try:
            check_coder(stored, self._coder)
            return self._is_engine_sound(stored) and all(map(np.array_equal, *tables))
        except (BundleError, EngineError, ValueError):
            return False

    @property
    @abstractmethod
    def engine_name(self) -> str:
        """Library, version and device that run the encoder."""

    @property
    @abstractmethod
    def lines_before(self) -> int:
        """Number of lines before a row of tiles that the scene's last row may read."""

    @abstractmethod
    def bands_of(self, acquisition: Acquisition) -> int:
        """Return the number of bands to code.

        Raises:
            SceneError: the bundle does not code such scenes.
        """

    @abstractmethod
    def mean_spectrum(self, scene: Scene) -> NDArray[np.integer[Any]] | None:
        """Return the mean spectrum of a stored scene for its header, (band,); None where the encoder writes none."""

    @abstractmethod
    def needs_mean(self, acquisition: Acquisition) -> bool:
        """Return True if a mean spectrum must be known before the first row of tiles is coded."""

    @abstractmethod
    def _open(self, strip: Strip) -> Callable[[int], Iterator[TileJob]]:
        """Do what all qualities of a row share, and return what gives the jobs of its tiles at a quality code."""

    def open_row(self, strip: Strip) -> EncodeRow:
        """Prepare a row of tiles; it may then be encoded at any number of qualities."""
        jobs = self._open(strip)
        return lambda code: ((job.tile, self._submit(strip, job, code)) for job in jobs(code))

    def _submit(self, strip: Strip, job: TileJob, quality_code: int) -> Future[list[CodedUnit]]:
        with self._lock:
            self.health.begin_tile()
        return self._pool.submit(self._units, strip, job, quality_code)

    def _units(self, strip: Strip, job: TileJob, quality_code: int) -> list[CodedUnit]:
        """Code a tile; where the engine fails, code it exactly without the engine."""
        masks = strip.masks(job.tile)
        prefix = TilePrefix(code=quality_code, marked=masks is not None)
        try:
            units = job.code(prefix)
        except EngineError as error:
            with self._lock:
                self.health.fall_back(Fallback(row=job.tile.row, column=job.tile.column, reason=str(error)))
            units = [(UnitKind.TILE_EXACT, 0, prefix.pack() + self._exact.encode(strip.pixels(job.tile)))]
        units += job.strip_units()
        if masks is not None:
            units.insert(1, (UnitKind.TILE_MASKS, 0, pack_marks(masks)))
        with self._lock:
            self.health.end_tile()
        return units

    def took(self, **seconds: float) -> None:
        """Add seconds to stages of `times`, by name."""
        with self._lock:
            for stage, spent in seconds.items():
                setattr(self.times, stage, getattr(self.times, stage) + spent)

    def grid(self, scene: Scene) -> TileGrid:
        """Return the tiles of a scene that fits the bundle.

        Raises:
            SceneError: it does not fit.
        """
        lines, samples, bands = scene.cube.shape
        self.bands_of(Acquisition(samples=samples, bands=bands, dtype=scene.cube.dtype))
        grid = TileGrid(geometry=self.bundle.manifest.geometry, lines=lines, samples=samples)
        if max(grid.rows, grid.columns) > MAX_GRID:
            raise SceneError(
                f"the scene has {grid.rows} × {grid.columns} tiles; packets number at most {MAX_GRID} a side: cut it"
            )
        return grid

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

    def scrub(self) -> bool:
        """Check files and memory again, as radiation may have changed them, and load anew what changed.

        The bundle's files are held against its manifest, and the tables in memory against the files. The engine and
        the coder must make of fixed inputs what they made when they were loaded. Tiles that a worker already holds
        are coded by the old state.

        Returns:
            True if everything was as it was loaded; if not, it is now.

        Raises:
            BundleError: the files were altered too, or what is loaded anew is wrong as well; the old state stays.
            EngineError: the engine does not load any more; the old state stays.
        """
        stored = self._stored()
        if stored.identity != self.bundle.identity:
            raise BundleError(f"{self.bundle.folder} is another bundle by now; begin again with it")
        sound = self._is_sound(stored)
        with self._lock:
            self.health.scrubs += 1
        if not sound:
            self._begin(stored)
            with self._lock:
                self.health.repairs += 1
        return sound

    def health_report(self) -> dict[str, Any]:
        """Return what goes into housekeeping: names of engine and coder, counts, and seconds by stage."""
        with self._lock:
            return {
                "bundle": self.bundle.identity.hex(),
                "engine": self.engine_name,
                "entropy_coder": self._coder.describe(),
                "kernels": self.kernels,
                "workers": self.workers,
                **asdict(self.health),
                "stages": asdict(self.times),
            }


AnyEncoder = RowEncoder[Any]
"""Row encoder of any family."""
