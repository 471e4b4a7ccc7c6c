"""What leads a tile's hyper-latent unit: its quality and what else belongs to the tile; docs/packet-format.md."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hyvic_runtime.errors import DecodeError
from hyvic_runtime.packets.quality import HIGHEST_CODE, LOWEST_CODE
from hyvic_runtime.packets.space_packet import Unit, UnitKind

PREFIX_OCTETS = 2
_LATENT_LEFT_OUT = 0x8000
_MARKED = 0x4000
_CODES = 0x4000
"""Of 14 bits. A code below zero stands as what it differs from this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePrefix:
    """First octets of a hyper-latent unit.

    Attributes:
        code: of the tile's quality, LOWEST_CODE … HIGHEST_CODE.
        latent_left_out: the sender left out the tile's latent units from the first that is missing on, to keep its
            budget.
        marked: a marks unit belongs to the tile.
    """

    code: int
    latent_left_out: bool = False
    marked: bool = False

    def pack(self) -> bytes:
        """Octets on the wire."""
        value = self.code % _CODES | _LATENT_LEFT_OUT * self.latent_left_out | _MARKED * self.marked
        return value.to_bytes(PREFIX_OCTETS, "big")


def unpack_tile_prefix(octets: bytes) -> TilePrefix:
    """Inverse of `TilePrefix.pack`, of a whole hyper-latent unit.

    Raises:
        DecodeError: too short, or an impossible value.
    """
    if len(octets) < PREFIX_OCTETS:
        raise DecodeError(f"a hyper-latent unit of {len(octets)} octets has no quality")
    value = int.from_bytes(octets[:PREFIX_OCTETS], "big")
    code = value % _CODES
    if code > HIGHEST_CODE:
        code -= _CODES
    if code < LOWEST_CODE:
        raise DecodeError(f"quality {code % _CODES}, which is none; {HIGHEST_CODE} is the highest")
    return TilePrefix(code=code, latent_left_out=bool(value & _LATENT_LEFT_OUT), marked=bool(value & _MARKED))


def without_latent(unit: Unit) -> Unit:
    """A unit of a tile of which a latent unit is left out: the hyper-latent says so."""
    if unit.kind != UnitKind.TILE_BASE:
        return unit
    lead = replace(unpack_tile_prefix(unit.octets), latent_left_out=True)
    return replace(unit, octets=lead.pack() + unit.octets[PREFIX_OCTETS:])
