"""How much of a scene arrived: asked before memory is taken for it."""

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
"""Tiles that are reconstructed for each unit that arrived: a scene of which less is left is refused."""


def check_complete(grid: TileGrid, received: ReceivedUnits, *, parts: int, conceal: bool) -> None:
    """Refuse a scene of which too little arrived.

    Args:
        grid: what its header announces, which may be anything.
        received: what arrived.
        parts: units of a latent.
        conceal: whether a part of the tiles is enough.

    Raises:
        DecodeError: less than what is worth the memory.
        LostTilesError: not all, and all is asked for.
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
    """Units that arrived, by row and column of their tile, where there are enough of them.

    Raises:
        DecodeError: there are not, and a part of the tiles would be enough.
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
    """Units of a tile, of which some arrived, that were sent and did not."""
    if any(key.kind == UnitKind.TILE_EXACT for key in keys):
        return 0
    latents = [key.part for key in keys if key.kind == UnitKind.TILE_REFINEMENT]
    hyperlatent = keys[0]._replace(kind=UnitKind.TILE_BASE, part=0)
    if hyperlatent not in received.units:
        return 1 + parts - len(latents)
    with suppress(DecodeError):  # what else may be wrong with the lead, the tile's decoding says
        if unpack_tile_prefix(received.units[hyperlatent]).latent_left_out:
            parts = max(latents, default=-1) + 1
    return parts - len(latents)


def lines_without_end(received: ReceivedUnits, tile: int, *, conceal: bool) -> int:
    """Lines of the rows of tiles that arrived.

    Raises:
        DecodeError: none did, or no more than what is known is to be taken.
    """
    rows = [key.row + 1 for key in received.units]
    if not conceal or not rows:
        raise DecodeError(
            f"the scene's end did not arrive, so its number of lines is not known{damage_clause(received.damage)}; "
            "send the scene again, or pass --conceal to take it as what did"
        )
    return min(max(rows) * tile, MAX_LINES)
