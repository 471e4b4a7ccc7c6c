"""Rows of tiles within what a downlink carries: one quality for a row, found by coding it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log

from hyvic_runtime.downlink.rate_control import DownlinkBudget, LeakyBucket, Trial, highest_within
from hyvic_runtime.errors import RateError
from hyvic_runtime.packets.quality import LOWEST_CODE
from hyvic_runtime.packets.space_packet import Packetiser, Unit, UnitKind
from hyvic_runtime.packets.tile_prefix import without_latent
from hyvic_runtime.scene.tile_grid import Tile

BUDGET_SLACK = 0.025
"""Share of a budget that may be left where the bundle's rates could use it; a smaller share costs more attempts."""
LOG_OCTETS_PER_CODE = 2e-4
"""Typical gain in the logarithm of the octets from one step of the quality code."""

TileUnits = tuple[Tile, list[Unit]]
"""A tile and its units."""


class RowBudget:
    """Keeps the packets of a scene within a downlink, row by row."""

    def __init__(self, downlink: DownlinkBudget, packetiser: Packetiser, quality_code: int) -> None:
        """Begin a scene with an empty bucket.

        Args:
            downlink: octets that the downlink carries.
            packetiser: tells how many octets the packets of a unit take.
            quality_code: first attempt.
        """
        self._downlink, self._packetiser, self._quality_code = downlink, packetiser, quality_code
        self._bucket = LeakyBucket(downlink, reserved=0)

    def reserve(self, header: Unit, ends: Sequence[Unit], lines: int) -> None:
        """Set octets aside for the units that end the scene.

        Args:
            header: unit of the scene header.
            ends: units that end the scene, sent beside the budget of the rows.
            lines: number of lines of the first row.

        Raises:
            RateError: the downlink cannot carry what frames the scene.
        """
        octets = self._packetiser.octets(header)
        reserved = sum(map(self._packetiser.octets, ends))
        carried = self._downlink.octets_per_line * lines
        if octets + reserved > carried:
            raise RateError(
                f"the downlink carries {int(carried)} octets in {lines} lines, and what "
                f"frames the scene takes {octets + reserved}; give it more, or use a bundle of larger tiles"
            )
        self._bucket = LeakyBucket(self._downlink, reserved=reserved)

    def check_header(self, header: Unit, lines: int) -> None:
        """Refuse a scene that ends within its first row, before the downlink has carried its header.

        Raises:
            RateError: it does.
        """
        octets = self._packetiser.octets(header)
        if octets > self._bucket.octets:
            raise RateError(
                f"the scene ends after {lines} lines, when the downlink has {self._bucket.octets} octets for its "
                f"header, which takes {octets}; let more lines come before its end, or give the downlink more"
            )

    def pass_lines(self, lines: int) -> None:
        """Add the octets that the downlink carries in the time of some lines."""
        self._bucket.pass_lines(lines)

    def best_row(self, encode: Callable[[int], list[TileUnits]]) -> list[TileUnits]:
        """Return a row at the best quality that the bucket holds, and spend its octets.

        Args:
            encode: encodes the row at a quality code.
        """

        def attempt(code: int) -> Trial[list[TileUnits]]:
            row = encode(code)
            return Trial(code, log(self._octets(row)), row)

        best = highest_within(
            attempt,
            limit=log(max(self._bucket.octets, 1)),
            slack=BUDGET_SLACK,
            start=self._quality_code,
            slope=LOG_OCTETS_PER_CODE,
        )
        if best is None:
            self._quality_code = LOWEST_CODE
            row = self._thinned(encode(LOWEST_CODE))
        else:
            self._quality_code, row = best.code, best.result
        self._bucket.spend(self._octets(row))
        return row

    def _octets(self, row: list[TileUnits]) -> int:
        return sum(self._packetiser.octets(unit) for _, units in row for unit in units)

    def _thinned(self, row: list[TileUnits]) -> list[TileUnits]:
        """Leave out units until the row fits: late refinements first, then tiles, then a copy of the header.

        Nobody can be asked in orbit, so the least is lost: missing refinements are decoded as predicted means and
        marked. Among equals the longest unit goes first. Exact tiles go before refinements where all refinements
        together would not make enough room.
        """
        over = self._octets(row) - self._bucket.octets
        for kind, part in self._expendable(row, over):
            units = [
                (index, unit)
                for index, (_, units) in enumerate(row)
                for unit in units
                if (unit.kind, unit.part) == (kind, part)
            ]
            for index, unit in sorted(units, key=lambda entry: len(entry[1].octets), reverse=True):
                if over <= 0:
                    return row
                over -= self._packetiser.octets(unit)
                tile, others = row[index]
                row[index] = tile, [without_latent(other) for other in others if other is not unit]
        return row

    def _expendable(self, row: list[TileUnits], over: int) -> list[tuple[UnitKind, int]]:
        """Return kinds and parts of units in the order in which they are left out."""
        refinements = [unit for _, units in row for unit in units if unit.kind == UnitKind.TILE_REFINEMENT]
        parts = [(UnitKind.TILE_REFINEMENT, part) for part in sorted({unit.part for unit in refinements}, reverse=True)]
        exact = [(UnitKind.TILE_EXACT, 0)]
        enough = sum(map(self._packetiser.octets, refinements)) >= over
        first = parts + exact if enough else exact + parts
        last = [(UnitKind.SCENE_HEADER, 0)] if row[0][0].row > 0 else []
        return [*first, (UnitKind.TILE_BASE, 0), (UnitKind.TILE_MASKS, 0), (UnitKind.STRIP_BASIS, 0), *last]
