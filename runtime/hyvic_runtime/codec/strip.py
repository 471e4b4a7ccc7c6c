"""Lines of a scene as they arrive, cut into strips: the lines that one row of tiles reads.

    lines ──append──▶ │ halo before │ own lines of the row │ halo after │ ──strip──▶ workers
                                    └── next_row: both halos are copied ─▶ the next strip

A strip has memory of its own, so workers may read it while the next lines arrive. Samples that hold a marked value
(no data, saturation) are noted when they arrive; no-data is then filled smoothly before the strip is coded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.scene.marked_samples import Mask, fill_line
from hyvic_runtime.scene.scene import Cube
from hyvic_runtime.scene.tile_grid import Tile, TileGeometry, TileGrid

Marks = dict[int, list[NDArray[np.uint8]]]
"""Packed bits of a line's marked samples, one array for each marked value; by line number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLines:
    """Consecutive lines of a scene.

    Attributes:
        first: number of the first line.
        cube: (line, sample, band).
    """

    first: int
    cube: Cube

    def __getitem__(self, lines: slice) -> Cube:
        """Return lines, (line, sample, band), by their numbers in the scene.

        Raises:
            IndexError: a line is not held.
        """
        if not self.first <= lines.start < lines.stop <= self.first + len(self.cube):
            raise IndexError(
                f"lines {lines.start} to {lines.stop - 1} are asked for; {self.first} to "
                f"{self.first + len(self.cube) - 1} are held"
            )
        return self.cube[lines.start - self.first : lines.stop - self.first]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """A row of tiles, ready to be coded.

    Attributes:
        grid: tiles of the scene, as far as its lines arrived.
        row: row number in the grid.
        held: lines that the row reads; no-data samples are filled.
        marks: marked samples of the row's own lines.
        marked_values: number of marked values.
        has_no_data: True if the first marked value means no data.
        mean: (band,), mean spectrum of the scene header.
    """

    grid: TileGrid
    row: int
    held: HeldLines
    marks: Marks
    marked_values: int
    has_no_data: bool
    mean: NDArray[np.integer[Any]]

    @property
    def tiles(self) -> list[Tile]:
        """Tiles of the row, left to right."""
        return [self.grid.tile(self.row, column) for column in range(self.grid.columns)]

    @property
    def cube(self) -> Cube:
        """Own lines of the row, (line, sample, band)."""
        return self.held[self._own_lines]

    @property
    def _own_lines(self) -> slice:
        first = self.row * self.grid.geometry.tile
        return slice(first, min(first + self.grid.geometry.tile, self.grid.lines))

    def pixels(self, tile: Tile) -> Cube:
        """Return a tile's own samples, (line, sample, band)."""
        return self.cube[:, self.grid.area(tile)[1]]

    def masks(self, tile: Tile) -> list[Mask] | None:
        """Return a tile's marked samples, (line, sample, band) for each marked value; None if it has none."""
        lines = self._own_lines
        marked = sorted(line for line in self.marks if lines.start <= line < lines.stop)
        if not marked:
            return None
        masks = np.zeros((self.marked_values, tile.lines, tile.samples, len(self.mean)), bool)
        _, samples = self.grid.area(tile)
        for line in marked:
            for mask, of_line in zip(masks, self._unpacked(line), strict=True):
                mask[line - lines.start] = of_line[samples]
        return list(masks) if masks.any() else None

    def valid(self) -> NDArray[np.bool_] | None:
        """Return where any band of the row's own lines has data, (line, sample); None: everywhere.

        A dead band has no data anywhere, and must not make whole pixels invalid; its filled values are smooth.
        """
        lines = self._own_lines
        marked = [line for line in self.marks if lines.start <= line < lines.stop]
        if not self.has_no_data or not marked:
            return None
        valid = np.ones((lines.stop - lines.start, self.grid.samples), bool)
        for line in marked:
            valid[line - lines.start] = ~self._unpacked(line)[0].all(axis=1)
        return valid

    def _unpacked(self, line: int) -> list[Mask]:
        return unpacked_marks(self.marks[line], self.grid.samples, len(self.mean))


def unpacked_marks(packed: list[NDArray[np.uint8]], samples: int, bands: int) -> list[Mask]:
    """Return the masks of one line, (sample, band) each."""
    size = samples * bands
    return [np.unpackbits(bits, count=size).astype(bool).reshape(samples, bands) for bits in packed]


class MarkedLines:
    """Holds the lines that the next row of tiles reads, and knows where they hold marked values.

    Attributes:
        row: number of the row of tiles that takes lines now.
        count: number of lines that came.
    """

    def __init__(self, acquisition: Acquisition, bands: int, geometry: TileGeometry, *, lines_before: int) -> None:
        """Take the memory of the first row of tiles.

        Args:
            acquisition: facts about the scene.
            bands: number of bands.
            geometry: size of tiles and halos.
            lines_before: number of lines before a row that the scene's last row may read.
        """
        self._acquisition, self._bands, self._geometry = acquisition, bands, geometry
        self._lines_before = lines_before
        values = (acquisition.no_data, acquisition.saturated)
        self._marked_values = [value for value in values if value is not None]
        self._marks: Marks = {}
        self.row = 0
        self._first = 0
        self._buffer = self._empty(self._row_end)
        self._earlier: list[HeldLines] = []
        self._filled = 0
        self.count = 0

    def _empty(self, lines: int) -> Cube:
        return np.empty((lines, self._acquisition.samples, self._bands), self._acquisition.dtype)

    @property
    def _row_end(self) -> int:
        """Number of the line after the last one that the row reads."""
        return (self.row + 1) * self._geometry.tile + self._geometry.halo_after

    @property
    def room(self) -> int:
        """Number of lines that the row still waits for."""
        return self._row_end - self.count

    @property
    def grid(self) -> TileGrid:
        """Tiles of the lines so far. A row that reaches beyond them is the scene's last row and mirrors them."""
        return TileGrid(geometry=self._geometry, lines=self.count, samples=self._acquisition.samples)

    def append(self, lines: Cube) -> None:
        """Add at most `room` lines, (line, sample, band), and note where they hold marked values."""
        for number, line in enumerate(lines, start=self.count):
            marked = [line == value for value in self._marked_values]
            if any(mask.any() for mask in marked):
                self._marks[number] = [np.packbits(mask) for mask in marked]
        start = self.count - self._first
        np.copyto(self._buffer[start : start + len(lines)], lines, casting="unsafe")
        self.count += len(lines)

    def own_lines(self) -> Cube:
        """Return the lines of the row that arrived so far, without halos, (line, sample, band)."""
        first = self.row * self._geometry.tile
        return self._held()[first : min(first + self._geometry.tile, self.count)]

    def _held(self) -> HeldLines:
        return HeldLines(first=self._first, cube=self._buffer[: self.count - self._first])

    def strip(self, mean: NDArray[np.integer[Any]]) -> Strip:
        """Fill no-data samples smoothly, and return the row as far as its lines arrived."""
        self._fill(mean)
        held = self._held()
        if self.room > 0:  # the scene ended: its last lines are mirrored into the row
            held = self._with_earlier(held)
        return Strip(
            grid=self.grid,
            row=self.row,
            held=held,
            marks=dict(self._marks),
            marked_values=len(self._marked_values),
            has_no_data=self._acquisition.no_data is not None,
            mean=mean,
        )

    def _fill(self, mean: NDArray[np.integer[Any]]) -> None:
        if self._acquisition.no_data is not None:
            for line in range(self._filled, self.count):
                if line in self._marks:
                    masks = unpacked_marks(self._marks[line], self._acquisition.samples, self._bands)
                    fill_line(self._buffer[line - self._first], masks[0], mean)
        self._filled = self.count

    def _with_earlier(self, held: HeldLines) -> HeldLines:
        """Put the earlier lines that the last row mirrors before its own, if it mirrors any."""
        first, pieces = int(self.grid.window_lines(self.row).min()), [held.cube]
        for earlier in reversed(self._earlier):
            if first < held.first:
                start = max(first, earlier.first)
                pieces.insert(0, earlier[start : held.first])
                held = HeldLines(first=start, cube=held.cube)
        return held if len(pieces) == 1 else HeldLines(first=held.first, cube=np.concatenate(pieces))

    def next_row(self) -> None:
        """Begin the next row of tiles: only what it shares with this one is kept."""
        before = self._held()
        self.row += 1
        top = self.row * self._geometry.tile
        self._marks = {line: marks for line, marks in self._marks.items() if line >= top}
        if self.count < top:
            return  # the scene ended
        self._first = max(0, top - self._geometry.halo_before)
        self._buffer = self._empty(self._row_end - self._first)
        if self.count > self._first:
            self._buffer[: self.count - self._first] = before[self._first : self.count]
        self._earlier = self._reaching([*self._earlier, before], max(0, top - self._lines_before))

    def _reaching(self, earlier: list[HeldLines], first: int) -> list[HeldLines]:
        """Return the newest of some held lines that together go back to a line: none where no row reads back."""
        kept: list[HeldLines] = []
        while self._lines_before and earlier and (not kept or kept[0].first > first):
            kept.insert(0, earlier.pop())
        return kept
