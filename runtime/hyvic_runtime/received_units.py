"""Packets to the units of a scene."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from hyvic_runtime.errors import DecodeError
from hyvic_runtime.packet_security import PacketOpener, Refusal
from hyvic_runtime.scene_header import SceneHeader, unpack_scene_end, unpack_scene_header
from hyvic_runtime.space_packet import Damage, Refused, Segment, UnitKind, parse_stream


class UnitKey(NamedTuple):
    """Which unit of a scene."""

    kind: UnitKind
    row: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedUnits:
    """One scene's whole units, and what was wrong with the stream around them.

    Attributes:
        header: of 0 lines where the scene's end did not arrive either.
        units: of the tiles.
        damage: what was no intact packet.
    """

    header: SceneHeader
    units: dict[UnitKey, bytes]
    damage: tuple[Damage, ...]
    refused: dict[Refusal, int]


def receive(stream: bytes, opener: PacketOpener | None = None) -> ReceivedUnits:
    """Collect a stream's units.

    Copies of a packet are welcome; two packets that claim one place and differ are damage, and the unit is dropped:
    nobody can say which of the two is meant.

    Args:
        stream: packets, one after another.
        opener: opens protected packets, and then others are refused; None: protected ones are.

    Raises:
        DecodeError: no scene header, or packets of more than one scene.
    """
    segments: dict[UnitKey, dict[int, Segment]] = defaultdict(dict)
    damage: list[Damage] = []
    scenes = set()
    disputed: set[UnitKey] = set()
    refused: Counter[Refusal] = Counter()
    for item in parse_stream(stream, opener):
        if isinstance(item, Damage):
            damage.append(item)
            continue
        if isinstance(item, Refused):
            refused[item.refusal] += 1
            continue
        scenes.add(item.scene)
        key = UnitKey(item.kind, item.row, item.column)
        first = segments[key].setdefault(item.index, item)
        if (item.octets, item.count) != (first.octets, first.count):
            disputed.add(key)
            reason = f"differs from the packet at octet {first.octet} that claims the same place; were scenes mixed?"
            damage.append(Damage(octet=item.octet, reason=reason))
    if len(scenes) > 1:
        raise DecodeError(f"the stream holds {len(scenes)} scenes ({sorted(scenes)}); decode one at a time")
    units = {
        key: b"".join(parts[index].octets for index in range(len(parts)))
        for key, parts in segments.items()
        if key not in disputed and {part.count for part in parts.values()} == {len(parts)}
    }
    header = units.pop(UnitKey(UnitKind.SCENE_HEADER, 0, 0), None)
    if header is None:
        raise DecodeError(
            f"no scene header among {len(stream)} octets: not a stream of this format{damage_clause(damage)}"
            f"{_refused_clause(refused)}"
        )
    unpacked = unpack_scene_header(header)
    end = units.pop(UnitKey(UnitKind.SCENE_END, 0, 0), None)
    if unpacked.lines == 0 and end is not None:
        unpacked = replace(unpacked, lines=unpack_scene_end(end))
    return ReceivedUnits(header=unpacked, units=units, damage=tuple(damage), refused=dict(refused))


def damage_clause(damage: Sequence[Damage]) -> str:
    """For the end of an error message: the first damage, or nothing where the stream is sound."""
    return f"; the stream is damaged at octet {damage[0].octet}: {damage[0].reason}" if damage else ""


def _refused_clause(refused: Mapping[Refusal, int]) -> str:
    """For the end of an error message: how many packets were dropped and what to do, or nothing."""
    advice = {
        Refusal.UNPROTECTED: "was the stream encoded without --key?",
        Refusal.NO_KEY: "pass the key they were encoded with as --key",
        Refusal.FORGED: "is it the key they were encoded with?",
        Refusal.REPLAYED: "they are copies",
    }
    return "".join(
        f"; {count} packets refused as {refusal.value}: {advice[refusal]}" for refusal, count in refused.items()
    )
