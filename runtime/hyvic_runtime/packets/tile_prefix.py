"""The first two octets of a tile base or tile exact unit: the tile's quality and two flags; docs/packet-format.md."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hyvic_runtime.errors import DecodeError
from hyvic_runtime.packets.quality import HIGHEST_CODE, LOWEST_CODE
from hyvic_runtime.packets.space_packet import Unit, UnitKind

PREFIX_OCTETS = 2
_LATENT_LEFT_OUT = 0x8000
_MARKED = 0x4000
_CODES = 0x4000
"""Number of 14-bit codes. A negative code is written as code + _CODES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePrefix:
    """Quality and flags of a tile, at the start of its first unit.

    Attributes:
        code: quality code of the tile, LOWEST_CODE … HIGHEST_CODE.
        latent_left_out: the sender kept its budget by leaving out refinement units, from the first missing one on.
        marked: a masks unit belongs to the tile.
    """

    code: int
    latent_left_out: bool = False
    marked: bool = False

    def pack(self) -> bytes:
        """Return the octets on the wire."""
        value = self.code % _CODES | _LATENT_LEFT_OUT * self.latent_left_out | _MARKED * self.marked
        return value.to_bytes(PREFIX_OCTETS, "big")


def unpack_tile_prefix(octets: bytes) -> TilePrefix:
    """Return the prefix at the start of a whole unit.

    Raises:
        DecodeError: the unit is too short, or its quality code is invalid.
    """
    if len(octets) < PREFIX_OCTETS:
        raise DecodeError(f"the first unit of a tile has {len(octets)} octets; its prefix alone has {PREFIX_OCTETS}")
    value = int.from_bytes(octets[:PREFIX_OCTETS], "big")
    code = value % _CODES
    if code > HIGHEST_CODE:
        code -= _CODES
    if code < LOWEST_CODE:
        raise DecodeError(f"quality code {code % _CODES} is invalid; the highest is {HIGHEST_CODE}")
    return TilePrefix(code=code, latent_left_out=bool(value & _LATENT_LEFT_OUT), marked=bool(value & _MARKED))


def without_latent(unit: Unit) -> Unit:
    """Return the unit of a tile whose refinement units are cut; a tile base unit gets the flag that says so."""
    if unit.kind != UnitKind.TILE_BASE:
        return unit
    prefix = replace(unpack_tile_prefix(unit.octets), latent_left_out=True)
    return replace(unit, octets=prefix.pack() + unit.octets[PREFIX_OCTETS:])
