"""Scenes to packets."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.bundle import ENCODER, HYPERDECODER, Bundle
from hyvic_runtime.conformance import check_coder, check_encoder, check_hyperdecoder
from hyvic_runtime.engine_choice import EngineKind, load_engine
from hyvic_runtime.entropy_coder import EntropyCoder
from hyvic_runtime.errors import SceneError
from hyvic_runtime.rate_gains import quality_code
from hyvic_runtime.scene import Scene, mean_spectrum
from hyvic_runtime.scene_header import SceneHeader
from hyvic_runtime.space_packet import MAX_GRID, Packetiser, Unit, UnitKind
from hyvic_runtime.tile_grid import Tile, TileGrid, coded_shape

DEFAULT_QUALITY = 50.0
QUALITY_OCTETS = 2
"""A hyper-latent unit leads with its tile's quality."""
SCENE_HEADER_ROWS = 4
"""Rows of tiles between two copies of the scene header: what a receiver that joins late has to wait."""


@dataclass(slots=True)
class StageTimes:
    """Seconds spent a stage, over all tiles so far."""

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
        times: where the time went, for reports.
    """

    bundle: Bundle
    engine: EngineKind | None = None
    times: StageTimes = field(default_factory=StageTimes)

    def __post_init__(self) -> None:
        self._engine = load_engine(self.bundle, ENCODER, self.engine)
        hyperdecoder = load_engine(self.bundle, HYPERDECODER, self.engine)
        check_hyperdecoder(self.bundle, hyperdecoder)
        check_encoder(self.bundle, self._engine, hyperdecoder)
        self._coder = EntropyCoder(self.bundle.tables)
        check_coder(self.bundle, self._coder)
        manifest = self.bundle.manifest
        window = manifest.geometry.window
        # One input buffer for all tiles.
        self._input = np.empty((1, window, window, manifest.bands), np.float32)

    def tile_packets(
        self,
        scene: Scene,
        packetiser: Packetiser,
        *,
        scene_id: int | None = None,
        quality: float | None = None,
    ) -> Iterator[list[bytes]]:
        """Encode a scene, a tile's packets at a time; the first of every SCENE_HEADER_ROWS rows leads with the header.

        Args:
            scene: what to encode.
            packetiser: numbers the packets.
            scene_id: in every packet of the scene; by default a checksum of its header and of lines spread over it,
                so that scenes that meet in one file are told apart.
            quality: 0 … 100 from the bundle's lowest to its highest rate; by default the middle.

        Raises:
            SceneError: the scene is not what the bundle codes.
            ValueError: a quality that is none, or for a bundle of one rate.
        """
        if quality is not None and self.bundle.manifest.rates == 1:
            raise ValueError("this bundle has a single rate: leave the quality out, or export a checkpoint of several")
        code = quality_code(DEFAULT_QUALITY if quality is None else quality)
        grid = self.grid(scene)
        header = SceneHeader(
            bundle_id=self.bundle.stream_id,
            lines=grid.lines,
            samples=grid.samples,
            mean_spectrum=self.mean_spectrum(scene),
        )
        header_octets = header.pack()
        if scene_id is None:
            scene_id = _checksum(scene, header_octets)
        for tile in grid:
            coded = self.symbols(scene, grid, tile, header.mean_spectrum, code)
            units = list(self._units(coded, tile, scene_id, code))
            begun = time.perf_counter()
            if tile.column == 0 and tile.row % SCENE_HEADER_ROWS == 0:
                units.insert(0, Unit(kind=UnitKind.SCENE_HEADER, scene=scene_id, row=0, column=0, octets=header_octets))
            packets = [packet for unit in units for packet in packetiser.packets(unit)]
            self.times.packets_s += time.perf_counter() - begun
            yield packets

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
        self, scene: Scene, grid: TileGrid, tile: Tile, mean: NDArray[np.integer[Any]], code: int
    ) -> dict[str, NDArray[np.float32]]:
        """What the encoder graph takes for one tile; the pixels are overwritten by the next call."""
        # Line by line: a line fits the cache through its passes, and a memory-mapped scene is read in order.
        columns = grid.window_samples(tile.column)
        start = tile.column * grid.geometry.tile - grid.geometry.halo_before
        first, last = max(0, -start), min(len(columns), grid.samples - start)
        mirrored = np.r_[:first, last : len(columns)]
        for spectra, line in zip(self._input[0], grid.window_lines(tile.row), strict=True):
            np.copyto(spectra[first:last], scene.cube[line][start + first : start + last], casting="unsafe")
            if mirrored.size:
                spectra[mirrored] = scene.cube[line][columns[mirrored]]
        cells = self.bundle.manifest.geometry.hyperlatents
        lines, samples = coded_shape(tile, self.bundle.manifest.geometry.hyper_stride)
        mask = np.zeros((1, 1, cells, cells), np.float32)
        mask[..., :lines, :samples] = 1
        gain, _ = self.bundle.gains.at(code)
        spectrum = mean.astype(np.float32)[None, None, None]
        return {"tile": self._input, "mean_spectrum": spectrum, "gain": gain[None], "hyperlatent_mask": mask}

    def symbols(
        self, scene: Scene, grid: TileGrid, tile: Tile, mean: NDArray[np.integer[Any]], code: int
    ) -> TileSymbols:
        """Run the encoder graph on one tile, at the quality of that code."""
        begun = time.perf_counter()
        inputs = self.engine_inputs(scene, grid, tile, mean, code)
        ready = time.perf_counter()
        outputs = self._engine.run(inputs)
        geometry = self.bundle.manifest.geometry
        hyper, latent = (coded_shape(tile, stride) for stride in (geometry.hyper_stride, geometry.latent_stride))
        self.times.tile_input_s += ready - begun
        self.times.engine_s += time.perf_counter() - ready
        return TileSymbols(
            hyperlatent=outputs["hyperlatent"][0, :, : hyper[0], : hyper[1]],
            symbols=outputs["symbols"][0, :, : latent[0], : latent[1]],
            scale_index=outputs["scale_index"][0, :, : latent[0], : latent[1]],
        )

    def _units(self, coded: TileSymbols, tile: Tile, scene_id: int, code: int) -> Iterator[Unit]:
        begun = time.perf_counter()
        hyperlatent = code.to_bytes(QUALITY_OCTETS, "big") + self._coder.encode(
            coded.hyperlatent.ravel(), hyperlatent_rows(coded.hyperlatent.shape, self.bundle.manifest.scales)
        )
        latent = self._coder.encode(coded.symbols.ravel(), coded.scale_index.ravel())
        self.times.entropy_coder_s += time.perf_counter() - begun
        for kind, octets in ((UnitKind.HYPERLATENT, hyperlatent), (UnitKind.LATENT, latent)):
            yield Unit(kind=kind, scene=scene_id, row=tile.row, column=tile.column, octets=octets)


def _checksum(scene: Scene, header: bytes) -> int:
    """CRC-32 of the header and of eight lines; equal scenes get equal identifiers, so that copies agree."""
    checksum = zlib.crc32(header)
    for line in np.linspace(0, len(scene.cube) - 1, 8).astype(np.intp):
        checksum = zlib.crc32(np.ascontiguousarray(scene.cube[line]).tobytes(), checksum)
    return checksum


def hyperlatent_rows(shape: tuple[int, ...], scales: int) -> NDArray[np.intp]:
    """Frequency-table row of every element of a raveled (N, line, sample) ẑ: channels follow the scales."""
    return np.repeat(np.arange(scales, scales + shape[0]), shape[1] * shape[2])
