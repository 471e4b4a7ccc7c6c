"""Finds the last line of a scene whose scene end unit did not arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hyvic_runtime.packets.reassembly import UnitKey, Units
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.scene.tile_grid import Tile, TileGrid
from hyvic_runtime.support.ordered_map import ordered_map


def cut_at_last_coded_line(grid: TileGrid, units: Units, decodes: Callable[[Tile], bool], workers: int) -> TileGrid:
    """Return the grid with the last row of tiles cut to the height at which it was coded, to the latent.

    An ANS decoder goes on after its last word and gives noise. So the units of a cut tile also decode as a whole tile.
    They never decode with fewer lines than were coded, because words or a state are left over. So the search takes the
    smallest height at which the units decode.

    Args:
        grid: grid of whole rows of tiles.
        units: units of the scene.
        decodes: tells whether the units of a tile hold exactly the lines of the tile.
        workers: number of tiles to try at the same time.
    """
    last = [grid.tile(grid.rows - 1, column) for column in range(grid.columns)]
    exact = [tile for tile in last if UnitKey.of(UnitKind.TILE_EXACT, tile) in units]
    latent = [tile for tile in last if UnitKey.of(UnitKind.TILE_REFINEMENT, tile) in units]

    def least(tile: Tile) -> int:
        step = 1 if tile in exact else grid.geometry.latent_stride
        cuts = (replace(tile, lines=lines) for lines in range(step, tile.lines + 1, step))
        return next((cut.lines for cut in cuts if decodes(cut)), 0)

    # One exact tile gives the height to the line, and its search takes long, so one is enough.
    lines = max(ordered_map(least, exact[:1] or latent, workers), default=0)
    return replace(grid, lines=(grid.rows - 1) * grid.geometry.tile + lines) if lines else grid
