"""Order in which the units of a scene are sent.

What a tile needs first goes first: bases, masks and exact tiles as soon as each tile is done. The refinements of a row
follow its last tile, part by part, so a lost tail costs the last parts of a row and no tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter

from hyvic_runtime.packets.space_packet import Unit, UnitKind


class UnitOrder:
    """Holds refinements back until their row, or their scene, is whole."""

    def __init__(self, header: Callable[[], Unit], *, progressive: bool) -> None:
        """Begin a scene.

        Args:
            header: gives the scene header's unit.
            progressive: hold refinements until the last tile of the scene. A stream cut anywhere then lacks late parts
                everywhere rather than the last tiles.
        """
        self._header, self._progressive = header, progressive
        self._refinements: list[Unit] = []

    def ready(self, units: list[Unit], *, ends_row: bool, ends_scene: bool) -> list[Unit]:
        """Return the units to send now.

        Args:
            units: units of the tile that was coded last.
            ends_row: True if it is the last tile of its row.
            ends_scene: True if it is the last tile of a scene whose length is known.
        """
        now = [unit for unit in units if unit.kind != UnitKind.TILE_REFINEMENT]
        self._refinements += [unit for unit in units if unit.kind == UnitKind.TILE_REFINEMENT]
        if ends_scene or (ends_row and not self._progressive):
            now += self._by_part()
        return now

    def _by_part(self) -> Iterator[Unit]:
        """Give the held refinements part by part; those of a whole scene take long, so each part has a header first."""
        refinements, self._refinements = sorted(self._refinements, key=attrgetter("part")), []
        for _, units in groupby(refinements, key=attrgetter("part")):
            if self._progressive:
                yield self._header()
            yield from units
