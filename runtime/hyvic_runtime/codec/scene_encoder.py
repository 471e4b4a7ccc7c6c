"""A scene in progress: lines in as the sensor delivers them, packets out as soon as a row of tiles is whole.

    push ─▶ lines held ─▶ tile and halo ─▶ │ engine ─▶ entropy coder │ ─▶ units held ─▶ packets, part by part
            (one or two    the caller's    │ engine ─▶ entropy coder │    (one row of    the caller's thread
             rows of tiles) thread         │        a worker each    │     tiles)

Every worker takes one tile through engine and coder while the caller reads or writes others. At most one tile more
than there are workers is under way, so memory does not depend on the scene's length, and which packets a call returns
depends on nothing but the lines pushed and the number of workers.

What a tile needs first goes first: hyper-latents, marks and lossless tiles as soon as each tile is done, and with the
row's last tile the latents of all, part by part. A tail that is lost then costs the last parts of a row and no tile.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import groupby
from math import log
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.acquisition import Acquisition, Interleave, LineRing, LineSource
from hyvic_runtime.codec.rate_control import DownlinkBudget, LeakyBucket, Trial, highest_within
from hyvic_runtime.errors import RateError, SceneError
from hyvic_runtime.packets.quality import LOWEST_CODE
from hyvic_runtime.packets.scene_header import MAX_LINES, SceneHeader, pack_scene_end
from hyvic_runtime.packets.space_packet import MAX_GRID, Packetiser, Unit, UnitKind
from hyvic_runtime.packets.tile_prefix import without_latent
from hyvic_runtime.scene.marked_samples import Mask, fill_line
from hyvic_runtime.scene.scene import Cube, mean_of_lines
from hyvic_runtime.scene.tile_grid import Tile, TileGrid

if TYPE_CHECKING:
    from hyvic_runtime.codec.row_encoder import AnyEncoder

SCENE_HEADER_ROWS = 4
"""Rows of tiles between two copies of the scene header: what a receiver that joins late has to wait."""
CHECKSUM_LINES = 8
BUDGET_SLACK = 0.025
"""Share of a budget that may be left where the bundle's rates could use it: less costs more attempts."""
LOG_OCTETS_PER_CODE = 2e-4
"""What a step of the quality's code typically adds to the logarithm of the octets."""

CodedTile = tuple[Tile, list[Unit]]


class HeldScene(LineSource, Protocol):
    """A scene of which lines are held."""

    def valid(self, lines: slice) -> NDArray[np.bool_] | None:
        """Where any band has data, (line, sample); None: everywhere."""
        ...


class SceneEncoder:
    """Encodes one scene line by line; made by `RowEncoder.begin`."""

    def __init__(
        self,
        encoder: AnyEncoder,
        acquisition: Acquisition,
        packetiser: Packetiser,
        code: int,
        downlink: DownlinkBudget | None,
        *,
        progressive: bool = False,
    ) -> None:
        """Take the memory of a row of tiles or two; see `RowEncoder.begin` and, of `progressive`, `tile_packets`.

        Raises:
            SceneError: the scene is not what the bundle codes.
            RateError: the downlink cannot carry a scene header.
        """
        self._bands = bands = encoder.bands_of(acquisition)
        self._encoder = encoder
        self._acquisition = acquisition
        self._packetiser = packetiser
        self._code = code
        self._geometry = encoder.bundle.manifest.geometry
        if -(-acquisition.samples // self._geometry.tile) > MAX_GRID:
            raise SceneError(f"a line of {acquisition.samples} samples has more than {MAX_GRID} tiles: cut it")
        if (acquisition.lines or 0) > MAX_GRID * self._geometry.tile:
            raise SceneError(f"a scene of {acquisition.lines} lines has more than {MAX_GRID} rows of tiles: cut it")
        mean = acquisition.mean_spectrum
        if mean is not None and (mean.shape, mean.dtype) != ((bands,), acquisition.dtype):
            raise SceneError(f"a mean spectrum of {mean.shape} {mean.dtype}; ({bands},) {acquisition.dtype} is needed")
        if acquisition.wavelengths is not None and acquisition.wavelengths.shape != (bands,):
            raise SceneError(f"{acquisition.wavelengths.size} wavelengths for {bands} bands")
        # The last row of tiles may mirror lines as far before it as a tile and its halos reach.
        mirrored = 0 if encoder.row_by_row else self._geometry.tile + self._geometry.halo_after
        self.cube = LineRing(
            capacity=self._geometry.window + mirrored,
            renewed=encoder.row_by_row,
            samples=acquisition.samples,
            bands=bands,
            dtype=acquisition.dtype,
        )
        marked = (acquisition.no_data, acquisition.saturated)
        self._marked_values = [value for value in marked if value is not None]
        self._marks: dict[int, list[NDArray[np.uint8]]] = {}
        self._filled = 0
        self._row = 0
        self._header: SceneHeader | None = None
        self._scene_id = 0
        self._in_flight: deque[tuple[Tile, Future[list[Unit]]]] = deque()
        self._progressive = progressive
        self._latents: list[Unit] = []  # of tiles whose other units were sent
        self._flushed = False
        self._bucket = None if downlink is None else self._bucket_of(downlink)

    def _bucket_of(self, downlink: DownlinkBudget) -> LeakyBucket:
        acquisition = self._acquisition
        header = self._header_of(np.zeros(self._bands, acquisition.dtype))
        first = min(acquisition.lines or self._geometry.tile, self._geometry.tile)
        octets = self._packetiser.octets(self._scene_unit(UnitKind.SCENE_HEADER, header.pack()))
        reserved = 0
        if acquisition.lines is None:
            reserved = 2 * self._packetiser.octets(self._scene_unit(UnitKind.SCENE_END, pack_scene_end(1)))
        if octets + reserved > downlink.octets_per_line * first:
            raise RateError(
                f"the downlink carries {int(downlink.octets_per_line * first)} octets in {first} lines, and what "
                f"frames the scene takes {octets + reserved}; give it more, or use a bundle of larger tiles"
            )
        return LeakyBucket(downlink, reserved=reserved)

    def push(self, lines: NDArray[np.integer[Any]], interleave: Interleave = Interleave.BIP) -> list[bytes]:
        """Take the scene's next lines.

        Args:
            lines: any number of them, integers of any byte order, in the order of axes that `interleave` names.
            interleave: of these lines.

        Returns:
            Packets that are ready by now; those of the tiles that are under way come with a later call.

        Raises:
            SceneError: the lines do not fit the scene.
        """
        return [packet for packets in self.push_tiles(lines, interleave) for packet in packets]

    def flush(self) -> list[bytes]:
        """End the scene.

        Raises:
            SceneError: fewer lines came than were announced, or none.
        """
        return [packet for packets in self.flush_tiles() for packet in packets]

    def push_tiles(
        self, lines: NDArray[np.integer[Any]], interleave: Interleave = Interleave.BIP
    ) -> Iterator[list[bytes]]:
        """`push`, with each tile that is done by now the packets that are ready with it."""
        if self._flushed:
            raise ValueError("the scene has ended; begin another one")
        cube = self._acquisition.lines_of(lines, interleave, self._bands)
        limit = self._acquisition.lines or min(MAX_LINES, MAX_GRID * self._geometry.tile)
        if self.cube.count + len(cube) > limit:
            raise SceneError(f"{self.cube.count + len(cube)} lines came for a scene of at most {limit}; begin another")
        while len(cube):
            begun = time.perf_counter()
            needed = (self._row + 1) * self._geometry.tile + self._geometry.halo_after
            taken = needed - self.cube.count
            self._hold(cube[:taken])
            cube = cube[taken:]
            self._encoder.times.tile_input_s += time.perf_counter() - begun
            if self.cube.count == needed:
                yield from self._next_row()

    def flush_tiles(self) -> Iterator[list[bytes]]:
        """`flush`, with each tile that is done the packets that are ready with it."""
        lines, announced = self.cube.count, self._acquisition.lines
        if lines == 0 or lines < (announced or 0):
            raise SceneError(f"the scene ends after {lines} of {announced or 'at least 1'} lines")
        self._flushed = True
        while self._row * self._geometry.tile < lines:
            yield from self._next_row()
        # Before the last tiles too: without it they could not be decoded, so one lost packet must not take it.
        if announced is None:
            yield self._end_packets()
        yield from map(self._packets, self._drained())
        if announced is None:
            yield self._end_packets()

    def _hold(self, lines: Cube) -> None:
        """Keep lines, and where they hold marked values."""
        for number, line in enumerate(lines, start=self.cube.count):
            marked = [line == value for value in self._marked_values]
            if any(mask.any() for mask in marked):
                self._marks[number] = [np.packbits(mask) for mask in marked]
        self.cube.append(lines)

    def _marked(self, line: int) -> list[Mask]:
        """Where a line that has marked values holds which."""
        shape = (self._acquisition.samples, self._bands)
        size = shape[0] * shape[1]
        return [np.unpackbits(packed, count=size).astype(bool).reshape(shape) for packed in self._marks[line]]

    def _fill(self) -> None:
        """Smooth over what has no data in the lines that the next row of tiles reads."""
        assert self._header is not None
        until = min(self.cube.count, (self._row + 1) * self._geometry.tile + self._geometry.halo_after)
        if self._acquisition.no_data is not None:
            for line in range(self._filled, until):
                if line in self._marks:
                    fill_line(self.cube[line], self._marked(line)[0], self._mean)
        self._filled = until

    def valid(self, lines: slice) -> NDArray[np.bool_] | None:
        """Where any band has data, (line, sample); None: everywhere.

        A dead band has none anywhere, and must not take the others along; what is filled in is smooth.
        """
        numbers = range(lines.start, lines.stop)
        if self._acquisition.no_data is None or not self._marks.keys() & set(numbers):
            return None
        valid = np.ones((len(numbers), self._acquisition.samples), bool)
        for index, line in enumerate(numbers):
            if line in self._marks:
                valid[index] = ~self._marked(line)[0].all(axis=1)
        return valid

    def _masks(self, tile: Tile) -> list[Mask] | None:
        """Of a tile's marked samples, (line, sample, band) each; None where it has none."""
        first, left = tile.row * self._geometry.tile, tile.column * self._geometry.tile
        shape = (len(self._marked_values), tile.lines, tile.samples, self._bands)
        lines = [line for line in range(first, first + tile.lines) if line in self._marks]
        if not lines:
            return None
        masks = np.zeros(shape, bool)
        for line in lines:
            for mask, marked in zip(masks, self._marked(line), strict=True):
                mask[line - first] = marked[left : left + tile.samples]
        return list(masks) if masks.any() else None

    def _next_row(self) -> Iterator[list[bytes]]:
        if self._header is None:
            self._mean = self._first_mean()
            self._header = self._header_of(self._mean)
            self._scene_id = self._identifier(self._header)
        self._fill()
        if self._bucket is None:
            yield from map(self._packets, self._row_at(self._code))
        else:
            yield from map(self._packets, self._row_within(self._bucket))
        self._row += 1
        self._marks = {line: marks for line, marks in self._marks.items() if line >= self._row * self._geometry.tile}

    @property
    def _grid(self) -> TileGrid:
        """Of the lines so far; a row of tiles that reaches beyond them is the last and mirrors them."""
        return TileGrid(geometry=self._geometry, lines=self.cube.count, samples=self._acquisition.samples)

    def _submit(self, column: int, code: int) -> None:
        """Send a tile of the row to the workers."""
        assert self._header is not None
        grid = self._grid
        tile = grid.tile(self._row, column)
        units = self._encoder.submit(
            self, grid, tile, self._mean, code, scene_id=self._scene_id, masks=self._masks(tile)
        )
        self._in_flight.append((tile, units))

    def _row_at(self, code: int) -> Iterator[CodedTile]:
        """Send a row to the workers, and take what is done where more than they can hold would be under way."""
        for column in range(self._grid.columns):
            self._submit(column, code)
            if len(self._in_flight) > self._encoder.workers + 1:
                yield self._oldest()

    def _drained(self) -> Iterator[CodedTile]:
        """What is under way, until nothing is."""
        while self._in_flight:
            yield self._oldest()

    def _oldest(self) -> CodedTile:
        """The oldest tile under way; the first of every SCENE_HEADER_ROWS rows leads with the header."""
        tile, future = self._in_flight.popleft()
        units = future.result()
        if tile.column == 0 and tile.row % SCENE_HEADER_ROWS == 0:
            units.insert(0, self._header_unit())
        return tile, units

    def _packets(self, coded: CodedTile) -> list[bytes]:
        """Those of a tile but for its latents, and with the last tile of a row, or scene, those of all that wait."""
        begun = time.perf_counter()
        tile, units = coded
        ready = [unit for unit in units if unit.kind != UnitKind.TILE_REFINEMENT]
        self._latents += [unit for unit in units if unit.kind == UnitKind.TILE_REFINEMENT]
        end = tile.row * self._geometry.tile + tile.lines
        if tile.column == self._grid.columns - 1 and (not self._progressive or end == self._acquisition.lines):
            ready += self._latents_by_part()
        packets = [packet for unit in ready for packet in self._packetiser.packets(unit)]
        self._encoder.times.packets_s += time.perf_counter() - begun
        return packets

    def _row_within(self, bucket: LeakyBucket) -> list[CodedTile]:
        """The next row of tiles at one quality, in what the bucket holds."""
        tile = self._grid.tile(self._row, 0)
        bucket.pass_lines(tile.lines)
        if self._row == 0:
            self._check_header_fits(bucket)

        def attempt(code: int) -> Trial[list[CodedTile]]:
            coded = self._whole_row(code)
            return Trial(code, log(self._octets(coded)), coded)

        limit = log(max(bucket.octets, 1))
        best = highest_within(attempt, limit=limit, slack=BUDGET_SLACK, start=self._code, slope=LOG_OCTETS_PER_CODE)
        if best is None:
            self._code = LOWEST_CODE
            coded = self._thinned(self._whole_row(LOWEST_CODE), bucket.octets)
        else:
            self._code, coded = best.code, best.result
        bucket.spend(self._octets(coded))
        return coded

    def _check_header_fits(self, bucket: LeakyBucket) -> None:
        """An open scene may end within its first row, before the downlink has carried what frames it."""
        octets = self._packetiser.octets(self._header_unit())
        if octets > bucket.octets:
            raise RateError(
                f"the scene ends after {self.cube.count} lines, when the downlink has {bucket.octets} octets for its "
                f"header, which takes {octets}; let more lines come before its end, or give the downlink more"
            )

    def _whole_row(self, code: int) -> list[CodedTile]:
        return [*self._row_at(code), *self._drained()]

    def _octets(self, coded: list[CodedTile]) -> int:
        return sum(self._packetiser.octets(unit) for _, units in coded for unit in units)

    def _thinned(self, coded: list[CodedTile], budget: int) -> list[CodedTile]:
        """A row without the units that do not fit: last parts of latents first, then tiles, then a header's copy.

        Nobody can be asked in orbit, so the least is lost: latents that are left out are reconstructed as their
        predicted means, and marked. What is alike goes by length. Lossless tiles go first where all latents together do
        not make room for them.
        """
        over = self._octets(coded) - budget
        latents = [unit for _, units in coded for unit in units if unit.kind == UnitKind.TILE_REFINEMENT]
        parts = [(UnitKind.TILE_REFINEMENT, part) for part in sorted({unit.part for unit in latents}, reverse=True)]
        lossless = [(UnitKind.TILE_EXACT, 0)]
        first = lossless + parts if sum(map(self._packetiser.octets, latents)) < over else parts + lossless
        kinds = [*first, (UnitKind.TILE_BASE, 0), (UnitKind.TILE_MASKS, 0), (UnitKind.STRIP_BASIS, 0)]
        kinds += [(UnitKind.SCENE_HEADER, 0)] * (self._row > 0)
        for which in kinds:
            units = [
                (index, unit)
                for index, (_, units) in enumerate(coded)
                for unit in units
                if (unit.kind, unit.part) == which
            ]
            for index, unit in sorted(units, key=lambda entry: len(entry[1].octets), reverse=True):
                if over <= 0:
                    return coded
                over -= self._packetiser.octets(unit)
                tile, others = coded[index]
                left = [without_latent(other) for other in others if other is not unit]
                coded[index] = tile, left
        return coded

    def _latents_by_part(self) -> Iterator[Unit]:
        """Latents that wait, part by part; those of a whole scene take long, and every part leads with the header."""
        latents, self._latents = sorted(self._latents, key=attrgetter("part")), []
        for _, units in groupby(latents, key=attrgetter("part")):
            if self._progressive:
                yield self._header_unit()
            yield from units

    def _end_packets(self) -> list[bytes]:
        unit = self._scene_unit(UnitKind.SCENE_END, pack_scene_end(self.cube.count))
        return list(self._packetiser.packets(unit))

    def _header_unit(self) -> Unit:
        assert self._header is not None
        return self._scene_unit(UnitKind.SCENE_HEADER, self._header.pack())

    def _scene_unit(self, kind: UnitKind, octets: bytes) -> Unit:
        return Unit(kind=kind, scene=self._scene_id, row=0, column=0, octets=octets)

    def _first_mean(self) -> NDArray[np.integer[Any]]:
        """What the header says is subtracted, and what samples without data fade into."""
        acquisition, encoder = self._acquisition, self._encoder
        wanted = encoder.subtracts_mean if encoder.mean_in_header else acquisition.no_data is not None
        if not wanted:
            return np.zeros(self._bands, acquisition.dtype)
        if acquisition.mean_spectrum is not None:
            return acquisition.mean_spectrum
        lines = range(min(self.cube.count, self._geometry.tile))
        return mean_of_lines((self.cube[line] for line in lines), acquisition.no_data)

    def _header_of(self, mean: NDArray[np.integer[Any]]) -> SceneHeader:
        return SceneHeader(
            bundle_id=self._encoder.bundle.stream_id,
            lines=self._acquisition.lines or 0,
            samples=self._acquisition.samples,
            bands=self._bands,
            dtype=self._acquisition.dtype,
            mean_spectrum=mean if self._encoder.mean_in_header else None,
            no_data=self._acquisition.no_data,
            saturated=self._acquisition.saturated,
            wavelengths=self._own_wavelengths(),
            georeference=self._acquisition.georeference,
        )

    def _own_wavelengths(self) -> NDArray[np.float64] | None:
        """The scene's, where single precision tells them from the bundle's, which need not be sent."""
        own, bundles = self._acquisition.wavelengths, self._encoder.bundle.manifest.wavelengths
        if own is None or (bundles is not None and np.array_equal(own.astype("f4"), np.array(bundles, "f4"))):
            return None
        return own

    def _identifier(self, header: SceneHeader) -> int:
        """CRC-32 of the header and of lines of the first row of tiles.

        Equal scenes get equal identifiers, so that copies agree; scenes that meet in one file are told apart.
        """
        if self._acquisition.scene_id is not None:
            return self._acquisition.scene_id
        checksum = zlib.crc32(header.pack())
        for line in np.linspace(0, min(self.cube.count, self._geometry.tile) - 1, CHECKSUM_LINES):
            checksum = zlib.crc32(self.cube[int(line)].tobytes(), checksum)
        return checksum
