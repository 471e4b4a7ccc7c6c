"""Packets to the units of their scenes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple

from hyvic_runtime.errors import DecodeError
from hyvic_runtime.packets.protection import PacketOpener, Refusal
from hyvic_runtime.packets.scene_header import SceneHeader, unpack_scene_end, unpack_scene_header
from hyvic_runtime.packets.space_packet import Damage, Refused, Segment, UnitKind, parse_stream
from hyvic_runtime.scene.tile_grid import Tile

NAMED_SCENES = 8
"""In an error message: a damaged stream may announce any number."""


class UnitKey(NamedTuple):
    """Which unit of a scene."""

    kind: UnitKind
    row: int
    column: int
    part: int = 0

    @classmethod
    def of(cls, kind: UnitKind, tile: Tile, part: int = 0) -> UnitKey:
        """Of a tile's unit."""
        return cls(kind, tile.row, tile.column, part)


Units = Mapping[UnitKey, bytes]
"""Whole units of one scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedUnits:
    """One scene's whole units, and what was wrong with the packets around them.

    Attributes:
        scene_id: the scene's.
        header: of 0 lines where the scene's end did not arrive either.
        units: of the tiles.
        damage: packets of the scene that claim one place and differ.
    """

    scene_id: int
    header: SceneHeader
    units: dict[UnitKey, bytes]
    damage: tuple[Damage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderlessScene:
    """Packets of a scene that has no header, as a forged or garbled packet invents one.

    Attributes:
        packets: how many.
        problem: what is wrong with the header.
    """

    packets: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedStream:
    """The scenes of a stream, and what is none of them.

    Attributes:
        octets: of the stream.
        scenes: by identifier, in the order of their first packets.
        strays: by identifier.
        damage: what was no intact packet.
        refused: undamaged packets that were dropped, by the reason.
    """

    octets: int
    scenes: dict[int, ReceivedUnits]
    strays: dict[int, HeaderlessScene]
    damage: tuple[Damage, ...]
    refused: dict[Refusal, int]

    def scene(self, scene_id: int | None = None) -> ReceivedUnits:
        """One scene, with the stream's damage too: any of it may have been a packet of this scene.

        Args:
            scene_id: which; None: the only one.

        Raises:
            DecodeError: there is no such scene, or more than one.
        """
        if scene_id is None:
            scene_id = self._only()
        if scene_id not in self.scenes:
            held = f"it holds {_named(self.scenes)}" if self.scenes else "nor any other"
            problem = self.strays[scene_id].problem if scene_id in self.strays else f"is not in the stream; {held}"
            raise DecodeError(f"scene {scene_id}: {problem}{self._clauses()}")
        units = self.scenes[scene_id]
        if not units.damage:  # as ever: a stream of many scenes and much damage takes no time for each pair
            return replace(units, damage=self.damage)
        return replace(units, damage=tuple(sorted(self.damage + units.damage, key=attrgetter("octet"))))

    def _only(self) -> int:
        if len(self.scenes) > 1:
            raise DecodeError(
                f"the stream holds {len(self.scenes)} scenes ({_named(self.scenes)}); choose one with --scene-id, or "
                "name a folder with --out for all of them"
            )
        if not self.scenes:
            problem = next((stray.problem for stray in self.strays.values()), "not a stream of this format")
            raise DecodeError(f"no scene header among {self.octets} octets: {problem}{self._clauses()}")
        return next(iter(self.scenes))

    def _clauses(self) -> str:
        return damage_clause(self.damage) + _refused_clause(self.refused)


@dataclass(slots=True)
class _Collected:
    """A scene's packets so far."""

    segments: dict[UnitKey, dict[int, Segment]] = field(default_factory=lambda: defaultdict(dict))
    conflicting: set[UnitKey] = field(default_factory=set)
    damage: list[Damage] = field(default_factory=list)
    packets: int = 0

    def add(self, segment: Segment) -> None:
        self.packets += 1
        key = UnitKey(segment.kind, segment.row, segment.column, segment.part)
        first = self.segments[key].setdefault(segment.index, segment)
        if (segment.octets, segment.count) != (first.octets, first.count):
            self.conflicting.add(key)
            reason = f"differs from the packet at octet {first.octet} that claims the same place; were scenes mixed?"
            self.damage.append(Damage(octet=segment.octet, reason=reason))

    def received(self, scene_id: int) -> ReceivedUnits:
        """The whole units.

        Raises:
            DecodeError: the scene's header did not arrive whole, or it or its end is none.
        """
        units = {
            key: b"".join(parts[index].octets for index in range(len(parts)))
            for key, parts in self.segments.items()
            if key not in self.conflicting and {part.count for part in parts.values()} == {len(parts)}
        }
        header = units.pop(UnitKey(UnitKind.SCENE_HEADER, 0, 0), None)
        if header is None:
            raise DecodeError("its scene header did not arrive whole")
        unpacked = unpack_scene_header(header)
        end = units.pop(UnitKey(UnitKind.SCENE_END, 0, 0), None)
        if unpacked.lines == 0 and end is not None:
            unpacked = replace(unpacked, lines=unpack_scene_end(end))
        return ReceivedUnits(scene_id=scene_id, header=unpacked, units=units, damage=tuple(self.damage))


def receive(stream: bytes, opener: PacketOpener | None = None) -> ReceivedStream:
    """Collect the units of every scene of a stream, in one pass.

    Scenes may be interleaved in any way. Copies of a packet are welcome; two packets that claim one place of a scene
    and differ are damage, and the unit is dropped: nobody can say which of the two is meant.

    Args:
        stream: packets, one after another.
        opener: opens protected packets, and then others are refused; None: protected ones are.
    """
    collected: dict[int, _Collected] = defaultdict(_Collected)
    damage: list[Damage] = []
    refused: Counter[Refusal] = Counter()
    for item in parse_stream(stream, opener):
        if isinstance(item, Damage):
            damage.append(item)
        elif isinstance(item, Refused):
            refused[item.refusal] += 1
        else:
            collected[item.scene].add(item)
    scenes, strays = {}, {}
    while collected:
        scene_id = next(iter(collected))
        packets = collected.pop(scene_id)  # the next scene's units are joined when this one's packets are gone
        try:
            scenes[scene_id] = packets.received(scene_id)
        except DecodeError as error:
            strays[scene_id] = HeaderlessScene(packets=packets.packets, problem=str(error))
    return ReceivedStream(octets=len(stream), scenes=scenes, strays=strays, damage=tuple(damage), refused=dict(refused))


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


def _named(scene_ids: Iterable[int]) -> str:
    ids = sorted(scene_ids)
    more = f" and {len(ids) - NAMED_SCENES} more" if len(ids) > NAMED_SCENES else ""
    return ", ".join(map(str, ids[:NAMED_SCENES])) + more
