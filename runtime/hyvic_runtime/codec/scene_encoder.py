"""Scenes to packets: lines in as the sensor delivers them, packets out as soon as a row of tiles is whole.

    push ─▶ marked lines ──strip──▶ row encoder ──▶ │ a tile for each worker │ ──units──▶ unit order ──▶ packets
            (a row of tiles)            ▲                                          │
                                        └──── row budget: one quality a row ◀──────┘

The caller's thread takes lines and makes packets; workers code tiles. At most one tile more than there are workers is
under way, so memory does not depend on the scene's length. The packets that a call returns depend on nothing but the
lines pushed and the number of workers.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.acquisition import Acquisition, Interleave
from hyvic_runtime.codec.row_encoder import AnyEncoder, CodedUnit, EncodeRow
from hyvic_runtime.codec.strip import MarkedLines, Strip
from hyvic_runtime.downlink.rate_control import DownlinkBudget
from hyvic_runtime.downlink.row_budget import RowBudget, TileUnits
from hyvic_runtime.downlink.unit_order import UnitOrder
from hyvic_runtime.errors import SceneError
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.packets.scene_header import MAX_LINES, SceneHeader, pack_scene_end
from hyvic_runtime.packets.space_packet import MAX_GRID, Packetiser, Unit, UnitKind
from hyvic_runtime.scene.scene import Scene, mean_of_lines
from hyvic_runtime.scene.tile_grid import Tile

DEFAULT_QUALITY = 50.0
SCENE_HEADER_ROWS = 4
"""Rows of tiles between two copies of the scene header, which a receiver that joins late has to wait for."""
CHECKSUM_LINES = 8


class SceneEncoder:
    """Encodes one scene line by line."""

    def __init__(
        self,
        encoder: AnyEncoder,
        acquisition: Acquisition,
        packetiser: Packetiser,
        *,
        quality: float | None = None,
        downlink: DownlinkBudget | None = None,
        progressive: bool = False,
    ) -> None:
        """Begin a scene, and take the memory of a row of tiles.

        Args:
            encoder: row encoder of a bundle.
            acquisition: facts about the scene.
            packetiser: numbers the packets.
            quality: 0 … 100 from the lowest to the highest rate that the bundle was trained for, and LOWEST_QUALITY …
                HIGHEST_QUALITY outside them; None: DEFAULT_QUALITY.
            downlink: octets that the packets may take; the quality is then only that of the first attempt.
            progressive: hold refinements until the last tile, and then send them part by part; needs a known number
                of lines.

        Raises:
            SceneError: the scene is not what the bundle codes.
            RateError: the downlink cannot carry a scene header.
            ValueError: the quality is invalid, or the bundle has a single rate.
        """
        if quality is not None or downlink is not None:
            encoder.check_has_rates()
        self._quality_code = quality_code(DEFAULT_QUALITY if quality is None else quality)
        self._bands = encoder.bands_of(acquisition)
        self._encoder, self._acquisition, self._packetiser = encoder, acquisition, packetiser
        self._geometry = encoder.bundle.manifest.geometry
        self._check_fits()
        self._lines = MarkedLines(acquisition, self._bands, self._geometry, lines_before=encoder.lines_before)
        self._header: SceneHeader | None = None
        self._scene_id = 0
        self._mean: NDArray[np.integer[Any]] = np.zeros(self._bands, acquisition.dtype)
        self._under_way: deque[tuple[Tile, Future[list[CodedUnit]]]] = deque()
        self._order = UnitOrder(self._header_unit, progressive=progressive)
        self._flushed = False
        self._budget = None if downlink is None else RowBudget(downlink, packetiser, self._quality_code)
        if self._budget is not None:
            header = self._scene_unit(UnitKind.SCENE_HEADER, self._header_of(self._mean).pack())
            ends = [] if acquisition.lines else 2 * [self._scene_unit(UnitKind.SCENE_END, pack_scene_end(1))]
            self._budget.reserve(header, ends, min(acquisition.lines or self._geometry.tile, self._geometry.tile))

    def _check_fits(self) -> None:
        acquisition, bands, tile = self._acquisition, self._bands, self._geometry.tile
        if -(-acquisition.samples // tile) > MAX_GRID:
            raise SceneError(f"a line of {acquisition.samples} samples has more than {MAX_GRID} tiles: cut it")
        if (acquisition.lines or 0) > MAX_GRID * tile:
            raise SceneError(f"a scene of {acquisition.lines} lines has more than {MAX_GRID} rows of tiles: cut it")
        mean = acquisition.mean_spectrum
        if mean is not None and (mean.shape, mean.dtype) != ((bands,), acquisition.dtype):
            raise SceneError(f"a mean spectrum of {mean.shape} {mean.dtype}; ({bands},) {acquisition.dtype} is needed")
        if acquisition.wavelengths is not None and acquisition.wavelengths.shape != (bands,):
            raise SceneError(f"{acquisition.wavelengths.size} wavelengths for {bands} bands")

    def push(self, lines: NDArray[np.integer[Any]], interleave: Interleave = Interleave.BIP) -> list[bytes]:
        """Take the scene's next lines.

        Args:
            lines: any number of lines, integers of any byte order, with axes in the order that `interleave` names.
            interleave: order of the axes of these lines.

        Returns:
            Packets that are ready by now; a later call returns those of the tiles that are under way.

        Raises:
            SceneError: the lines do not fit the scene.
            ValueError: the scene has ended.
        """
        return [packet for packets in self._push(lines, interleave) for packet in packets]

    def flush(self) -> list[bytes]:
        """End the scene, and return its last packets.

        Raises:
            SceneError: no line came, or fewer than were announced.
        """
        return [packet for packets in self._flush() for packet in packets]

    def _push(self, lines: NDArray[np.integer[Any]], interleave: Interleave = Interleave.BIP) -> Iterator[list[bytes]]:
        """Give, with each tile that is done by now, the packets that are ready with it."""
        if self._flushed:
            raise ValueError("the scene has ended; begin another one")
        cube = self._acquisition.lines_of(lines, interleave, self._bands)
        limit = self._acquisition.lines or min(MAX_LINES, MAX_GRID * self._geometry.tile)
        if self._lines.count + len(cube) > limit:
            came = self._lines.count + len(cube)
            raise SceneError(f"{came} lines came for a scene of at most {limit}; begin another")
        while len(cube):
            begun = time.perf_counter()
            taken = self._lines.room
            self._lines.append(cube[:taken])
            cube = cube[taken:]
            self._encoder.took(tile_input_s=time.perf_counter() - begun)
            if self._lines.room == 0:
                yield from self._next_row()

    def _flush(self) -> Iterator[list[bytes]]:
        """End the scene, and give the packets that are ready with each tile."""
        lines, announced = self._lines.count, self._acquisition.lines
        if lines == 0 or lines < (announced or 0):
            raise SceneError(f"the scene ends after {lines} of {announced or 'at least 1'} lines")
        self._flushed = True
        while self._lines.row * self._geometry.tile < lines:
            yield from self._next_row()
        # The end goes before the last tiles too: without it they could not be decoded, so it must not be lost alone.
        if announced is None:
            yield self._end_packets()
        yield from map(self._packets, self._drained())
        if announced is None:
            yield self._end_packets()

    def _next_row(self) -> Iterator[list[bytes]]:
        if self._header is None:
            self._mean = self._first_mean()
            self._header = self._header_of(self._mean)
            self._scene_id = self._identifier(self._header)
        strip = self._lines.strip(self._mean)
        encode = self._encoder.open_row(strip)
        if self._budget is None:
            yield from map(self._packets, self._encoded(encode, self._quality_code))
        else:
            yield from map(self._packets, self._row_within(self._budget, strip, encode))
        self._lines.next_row()

    def _encoded(self, encode: EncodeRow, code: int) -> Iterator[TileUnits]:
        """Send a row to the workers, and give what is done whenever they hold enough."""
        for tile, units in encode(code):
            self._under_way.append((tile, units))
            if len(self._under_way) > self._encoder.workers + 1:
                yield self._oldest()

    def _drained(self) -> Iterator[TileUnits]:
        """Give what is under way, until nothing is."""
        while self._under_way:
            yield self._oldest()

    def _oldest(self) -> TileUnits:
        """Wait for the oldest tile under way; the first of every SCENE_HEADER_ROWS rows begins with the header."""
        tile, future = self._under_way.popleft()
        units = [
            Unit(kind=kind, scene=self._scene_id, row=tile.row, column=tile.column, octets=octets, part=part)
            for kind, part, octets in future.result()
        ]
        if tile.column == 0 and tile.row % SCENE_HEADER_ROWS == 0:
            units.insert(0, self._header_unit())
        return tile, units

    def _row_within(self, budget: RowBudget, strip: Strip, encode: EncodeRow) -> list[TileUnits]:
        budget.pass_lines(strip.tiles[0].lines)
        if strip.row == 0:
            budget.check_header(self._header_unit(), self._lines.count)
        return budget.best_row(lambda code: [*self._encoded(encode, code), *self._drained()])

    def _packets(self, coded: TileUnits) -> list[bytes]:
        """Return the packets to send now, with a tile that was coded."""
        begun = time.perf_counter()
        tile, units = coded
        ends_row = tile.column == self._lines.grid.columns - 1
        end = tile.row * self._geometry.tile + tile.lines
        units = self._order.ready(units, ends_row=ends_row, ends_scene=ends_row and end == self._acquisition.lines)
        packets = [packet for unit in units for packet in self._packetiser.packets(unit)]
        self._encoder.took(packets_s=time.perf_counter() - begun)
        return packets

    def _end_packets(self) -> list[bytes]:
        unit = self._scene_unit(UnitKind.SCENE_END, pack_scene_end(self._lines.count))
        return list(self._packetiser.packets(unit))

    def _header_unit(self) -> Unit:
        assert self._header is not None, "made with the first row"
        return self._scene_unit(UnitKind.SCENE_HEADER, self._header.pack())

    def _scene_unit(self, kind: UnitKind, octets: bytes) -> Unit:
        return Unit(kind=kind, scene=self._scene_id, row=0, column=0, octets=octets)

    def _first_mean(self) -> NDArray[np.integer[Any]]:
        """Return the spectrum that is subtracted, and that samples without data fade into."""
        if not self._encoder.needs_mean(self._acquisition):
            return np.zeros(self._bands, self._acquisition.dtype)
        if self._acquisition.mean_spectrum is not None:
            return self._acquisition.mean_spectrum
        return mean_of_lines(self._lines.own_lines(), self._acquisition.no_data)

    def _header_of(self, mean: NDArray[np.integer[Any]]) -> SceneHeader:
        return SceneHeader(
            bundle_id=self._encoder.bundle.stream_id,
            lines=self._acquisition.lines or 0,
            samples=self._acquisition.samples,
            bands=self._bands,
            dtype=self._acquisition.dtype,
            mean_spectrum=mean if self._encoder.writes_mean else None,
            no_data=self._acquisition.no_data,
            saturated=self._acquisition.saturated,
            wavelengths=self._own_wavelengths(),
            georeference=self._acquisition.georeference,
        )

    def _own_wavelengths(self) -> NDArray[np.float64] | None:
        """Return the scene's wavelengths; None where they equal the bundle's in single precision."""
        own, bundles = self._acquisition.wavelengths, self._encoder.bundle.manifest.wavelengths
        if own is None or (bundles is not None and np.array_equal(own.astype("f4"), np.array(bundles, "f4"))):
            return None
        return own

    def _identifier(self, header: SceneHeader) -> int:
        """Return the scene's identifier: by default CRC-32 of the header and of lines of the first row of tiles.

        Equal scenes get equal identifiers, so that copies agree; scenes that meet in one file are told apart.
        """
        if self._acquisition.scene_id is not None:
            return self._acquisition.scene_id
        checksum = zlib.crc32(header.pack())
        lines = self._lines.own_lines()
        for line in np.linspace(0, len(lines) - 1, CHECKSUM_LINES):
            checksum = zlib.crc32(lines[int(line)].tobytes(), checksum)
        return checksum


def scene_packets(
    encoder: AnyEncoder,
    scene: Scene,
    packetiser: Packetiser,
    *,
    scene_id: int | None = None,
    quality: float | None = None,
    saturated: int | None = None,
    progressive: bool = False,
) -> Iterator[list[bytes]]:
    """Encode a stored scene, and give with every tile the packets that are ready by then.

    The packets are those of a `SceneEncoder` that gets the scene's lines and mean spectrum, whatever lines are pushed
    at a time.

    Args:
        encoder: row encoder of a bundle.
        scene: scene to encode; a memory-mapped one is read a row of tiles at a time.
        packetiser: numbers the packets.
        scene_id: identifier in every packet of the scene; None: a checksum.
        quality: as of `SceneEncoder`.
        saturated: value of samples that had too much light; they are restored exactly.
        progressive: as of `SceneEncoder`.

    Raises:
        SceneError: the scene is not what the bundle codes.
        ValueError: the quality is invalid, or the bundle has a single rate.
    """
    lines, samples, bands = scene.cube.shape
    acquisition = Acquisition(
        samples=samples,
        bands=bands,
        dtype=scene.cube.dtype,
        lines=lines,
        no_data=scene.no_data,
        saturated=saturated,
        wavelengths=scene.wavelengths,
        georeference=scene.georeference,
        scene_id=scene_id,
        mean_spectrum=encoder.mean_spectrum(scene),
    )
    live = SceneEncoder(encoder, acquisition, packetiser, quality=quality, progressive=progressive)
    tile = encoder.bundle.manifest.geometry.tile
    for first in range(0, lines, tile):
        yield from live._push(scene.cube[first : first + tile])
    yield from live._flush()


def scene_stream(encoder: AnyEncoder, scene: Scene, *, quality: float | None = None) -> bytes:
    """Encode a stored scene, and return its packets, numbered from zero, one after another."""
    packets = scene_packets(encoder, scene, Packetiser(), quality=quality)
    return b"".join(packet for tile in packets for packet in tile)
