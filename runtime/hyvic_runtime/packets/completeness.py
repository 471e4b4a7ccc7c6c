"""Checks how much of a scene arrived, before the decoder takes memory for it."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress

from hyvic_runtime.errors import DecodeError, LostTilesError
from hyvic_runtime.packets.reassembly import ReceivedUnits, UnitKey, damage_clause
from hyvic_runtime.packets.scene_header import MAX_LINES
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.packets.tile_prefix import unpack_tile_prefix
from hyvic_runtime.scene.tile_grid import TileGrid

MAX_CONCEALED_SHARE = 16
"""Largest number of tiles per unit that arrived; the decoder refuses a scene with fewer units, even with `conceal`."""


def check_complete(grid: TileGrid, received: ReceivedUnits, *, parts: int, conceal: bool) -> None:
    """Refuse a scene of which too little arrived.

    Args:
        grid: tile grid that the scene header announces; a damaged header can announce any size.
        received: units that arrived.
        parts: number of refinement units of a tile.
        conceal: accept a scene with missing tiles.

    Raises:
        DecodeError: too few units arrived for the announced size.
        LostTilesError: units are missing, and `conceal` is False.
    """
    tiles = grid.rows * grid.columns
    arrived = check_header_plausible(grid, received, parts=parts, conceal=conceal)
    units = sum(map(len, arrived.values()))
    missing = [_missing(keys, received, parts) for keys in arrived.values()]
    lost = tiles - len(arrived) + sum(count > 0 for count in missing)
    if not conceal and lost:
        sent = units + sum(missing) + (tiles - len(arrived)) * (1 + parts)
        reason = f"{units} of {sent} units arrived whole{damage_clause(received.damage)}"
        raise LostTilesError(lost=lost, tiles=tiles, reason=reason)


def check_header_plausible(
    grid: TileGrid, received: ReceivedUnits, *, parts: int, conceal: bool
) -> dict[tuple[int, int], list[UnitKey]]:
    """Return the units that arrived, by row and column of their tile.

    Raises:
        DecodeError: too few units arrived for the announced number of tiles, and `conceal` is True.
    """
    tiles = grid.rows * grid.columns
    arrived: dict[tuple[int, int], list[UnitKey]] = defaultdict(list)
    for key in received.units:
        coded = key.kind in (UnitKind.TILE_BASE, UnitKind.TILE_REFINEMENT, UnitKind.TILE_EXACT) and key.part < parts
        if coded and key.row < grid.rows and key.column < grid.columns:
            arrived[key.row, key.column].append(key)
    units = sum(map(len, arrived.values()))
    if conceal and tiles > MAX_CONCEALED_SHARE * (units + 1):
        raise DecodeError(f"the scene header announces {tiles} tiles and only {units} units arrived")
    return arrived


def _missing(keys: list[UnitKey], received: ReceivedUnits, parts: int) -> int:
    """Return the number of units of a tile that were sent and did not arrive; `keys` are the units that arrived."""
    if any(key.kind == UnitKind.TILE_EXACT for key in keys):
        return 0
    refinements = [key.part for key in keys if key.kind == UnitKind.TILE_REFINEMENT]
    base = keys[0]._replace(kind=UnitKind.TILE_BASE, part=0)
    if base not in received.units:
        return 1 + parts - len(refinements)
    with suppress(DecodeError):  # decoding the tile reports an invalid prefix
        if unpack_tile_prefix(received.units[base]).latent_left_out:
            parts = max(refinements, default=-1) + 1
    return parts - len(refinements)


def lines_without_end(received: ReceivedUnits, tile: int, *, conceal: bool) -> int:
    """Return the number of lines up to the last row of tiles that arrived, for a scene without a scene end unit.

    Raises:
        DecodeError: no row of tiles arrived, or `conceal` is False.
    """
    rows = [key.row + 1 for key in received.units]
    if not conceal or not rows:
        raise DecodeError(
            f"the scene's end did not arrive, so its number of lines is not known{damage_clause(received.damage)}; "
            "send the scene again, or pass --conceal to decode the rows of tiles that arrived"
        )
    return min(max(rows) * tile, MAX_LINES)
