"""Collects the packets of a stream and joins them to the units of each scene."""

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
"""Most scenes that an error message lists, because a damaged stream can announce any number of scenes."""


class UnitKey(NamedTuple):
    """Identifies a unit within its scene."""

    kind: UnitKind
    row: int
    column: int
    part: int = 0

    @classmethod
    def of(cls, kind: UnitKind, tile: Tile, part: int = 0) -> UnitKey:
        """Return the key of a unit of this tile."""
        return cls(kind, tile.row, tile.column, part)


Units = Mapping[UnitKey, bytes]
"""Whole units of one scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedUnits:
    """Whole units of one scene, and the damage found among its packets.

    Attributes:
        scene_id: identifier of the scene.
        header: scene header; it has 0 lines if it leaves them open and no scene end arrived.
        units: whole units of the tiles and strips.
        damage: packets of the scene that claim the same place and differ.
    """

    scene_id: int
    header: SceneHeader
    units: dict[UnitKey, bytes]
    damage: tuple[Damage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderlessScene:
    """Packets of a scene without a valid header; a garbled scene identifier, for example, invents such a scene.

    Attributes:
        packets: number of packets.
        problem: reason for which the header is missing or invalid.
    """

    packets: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedStream:
    """Scenes of a stream, and the packets that belong to no scene.

    Attributes:
        octets: length of the stream.
        scenes: scenes by identifier, in the order of their first packets.
        headerless: scenes without a valid header, by identifier.
        damage: stretches of the stream that are not intact packets.
        refused: number of undamaged packets that were dropped, by reason.
    """

    octets: int
    scenes: dict[int, ReceivedUnits]
    headerless: dict[int, HeaderlessScene]
    damage: tuple[Damage, ...]
    refused: dict[Refusal, int]

    def scene(self, scene_id: int | None = None) -> ReceivedUnits:
        """Return one scene, with the damage of the stream added: any damage may have been a packet of this scene.

        Args:
            scene_id: identifier of the scene; None for the only scene of the stream.

        Raises:
            DecodeError: the stream does not hold the scene, or `scene_id` is None and it holds several.
        """
        if scene_id is None:
            scene_id = self._only()
        if scene_id not in self.scenes:
            held = f"it holds {_named(self.scenes)}" if self.scenes else "it holds no scene"
            headerless = self.headerless.get(scene_id)
            problem = headerless.problem if headerless else f"is not in the stream; {held}"
            raise DecodeError(f"scene {scene_id}: {problem}{self._clauses()}")
        units = self.scenes[scene_id]
        if not units.damage:  # the usual case; sorting would cost time for each scene of a damaged stream
            return replace(units, damage=self.damage)
        return replace(units, damage=tuple(sorted(self.damage + units.damage, key=attrgetter("octet"))))

    def _only(self) -> int:
        if len(self.scenes) > 1:
            raise DecodeError(
                f"the stream holds {len(self.scenes)} scenes ({_named(self.scenes)}); choose one with --scene-id, or "
                "name a folder with --out for all of them"
            )
        if not self.scenes:
            problem = next((scene.problem for scene in self.headerless.values()), "not a stream of this format")
            raise DecodeError(f"no scene header among {self.octets} octets: {problem}{self._clauses()}")
        return next(iter(self.scenes))

    def _clauses(self) -> str:
        return damage_clause(self.damage) + _refused_clause(self.refused)


@dataclass(slots=True)
class _Collected:
    """Packets of one scene that were read so far."""

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
        """Return the whole units of the scene.

        Raises:
            DecodeError: the scene header did not arrive whole, or the header or the scene end is invalid.
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

    Scenes may be interleaved in any way, and a packet may arrive more than once. Two packets that claim the same place
    of a scene and differ are damage. Their unit is dropped, because no one can say which packet is right.

    Args:
        stream: packets, one after another.
        opener: opens protected packets and makes the parser refuse unprotected ones; None refuses protected packets.
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
    scenes: dict[int, ReceivedUnits] = {}
    headerless: dict[int, HeaderlessScene] = {}
    while collected:
        scene_id = next(iter(collected))
        packets = collected.pop(scene_id)  # frees the packets of one scene before the next scene's units are joined
        try:
            scenes[scene_id] = packets.received(scene_id)
        except DecodeError as error:
            headerless[scene_id] = HeaderlessScene(packets=packets.packets, problem=str(error))
    return ReceivedStream(
        octets=len(stream), scenes=scenes, headerless=headerless, damage=tuple(damage), refused=dict(refused)
    )


def damage_clause(damage: Sequence[Damage]) -> str:
    """Return the first damage as the end of an error message; empty for a stream without damage."""
    return f"; the stream is damaged at octet {damage[0].octet}: {damage[0].reason}" if damage else ""


def _refused_clause(refused: Mapping[Refusal, int]) -> str:
    """Return the number of refused packets and advice as the end of an error message; empty without refusals."""
    advice = {
        Refusal.UNPROTECTED: "was the stream encoded without --key?",
        Refusal.NO_KEY: "pass the key of the encoder as --key",
        Refusal.FORGED: "is --key the key of the encoder?",
        Refusal.REPLAYED: "they are copies",
    }
    return "".join(
        f"; {count} packets refused as {refusal.value}: {advice[refusal]}" for refusal, count in refused.items()
    )


def _named(scene_ids: Iterable[int]) -> str:
    ids = sorted(scene_ids)
    more = f" and {len(ids) - NAMED_SCENES} more" if len(ids) > NAMED_SCENES else ""
    return ", ".join(map(str, ids[:NAMED_SCENES])) + more
