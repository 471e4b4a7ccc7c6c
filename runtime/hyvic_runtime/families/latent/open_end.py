"""How far a scene reaches whose end, which was to tell it, did not arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hyvic_runtime.packets.reassembly import UnitKey, Units
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.scene.tile_grid import Tile, TileGrid
from hyvic_runtime.support.ordered_map import ordered_map


def cut_at_last_coded_line(grid: TileGrid, units: Units, decodes: Callable[[Tile], bool], workers: int) -> TileGrid:
    """The grid, its last row of tiles as high as it was coded, up to a latent.

    ANS goes on where its words end, so the units of a tile that the scene's end cut decode as a whole one too, as
    noise. With fewer lines than it has they never do: something is left over.

    Args:
        grid: of whole rows.
        units: of the scene.
        decodes: whether a tile's units hold as many lines as it has, and nothing else.
        workers: tiles to try at a time.
    """
    last = [grid.tile(grid.rows - 1, column) for column in range(grid.columns)]
    lossless = [tile for tile in last if UnitKey.of(UnitKind.TILE_EXACT, tile) in units]
    latent = [tile for tile in last if UnitKey.of(UnitKind.TILE_REFINEMENT, tile) in units]

    def least(tile: Tile) -> int:
        step = 1 if tile in lossless else grid.geometry.latent_stride
        cuts = (replace(tile, lines=lines) for lines in range(step, tile.lines + 1, step))
        return next((cut.lines for cut in cuts if decodes(cut)), 0)

    # A lossless tile says it to the line, and takes long: one of them is enough.
    lines = max(ordered_map(least, lossless[:1] or latent, workers), default=0)
    return replace(grid, lines=(grid.rows - 1) * grid.geometry.tile + lines) if lines else grid
