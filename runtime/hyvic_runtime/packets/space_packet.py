"""Writes and parses the CCSDS Space Packets that carry the coded units of a scene.

    primary header │ secondary header            │ unit header │ segment │ CRC
    6 octets       │ time code (7) + version (1) │ 13          │ 1 ...   │ 2

The package spacepackets makes the primary header (CCSDS 133.0-B-2, 4.1.3). The time code is CDS (CCSDS 301.0-B-4,
3.3): days since 1958 and milliseconds of the day. Unit header and segment may be protected (`protection.py`). The
CRC-16 covers all octets before it.

A unit that is longer than a packet is cut into segments. The sequence flags tell whether a segment is the first, a
continuation, the last, or unsegmented. The unit header numbers the segments, so a receiver can start anywhere.
docs/packet-format.md gives the layout bit by bit.

>>> unit = Unit(kind=UnitKind.TILE_BASE, scene=7, row=0, column=3, octets=bytes(1000))
>>> packets = list(Packetiser(packet_octets=512).packets(unit))
>>> [len(packet) for packet in packets]
[512, 512, 63]
>>> segments = list(parse_stream(b"".join(packets)))
>>> b"".join(segment.octets for segment in segments) == unit.octets
True
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from spacepackets.ccsds import PacketType, SequenceFlags, SpacePacketHeader
from spacepackets.ccsds.time import CdsShortTimestamp

from hyvic_runtime.errors import DecodeError
from hyvic_runtime.packets.protection import (
    SECURITY_OCTETS,
    PacketOpener,
    PacketProtector,
    Refusal,
    RefusedError,
)

FORMAT_VERSION = 2
PROTECTED = 0x80
"""Bit in the octet of the format version that marks a protected packet."""
PRIMARY_HEADER_OCTETS = 6
CRC_OCTETS = 2
SEQUENCE_MODULUS = 2**14
IDLE_PACKET_ID = b"\x07\xff"
MAX_PACKET_OCTETS = PRIMARY_HEADER_OCTETS + 2**16
DEFAULT_PACKET_OCTETS = 8192
MAX_GRID = 2**16
"""Largest number of tile rows, and of tile columns, that the unit header can number."""
DEFAULT_APID = 0x123

TIME_CODE_OCTETS = CdsShortTimestamp.TIMESTAMP_SIZE
TIME_CODE_ID = 0x40
"""P-field of CCSDS 301.0-B-4, 3.3.2: CDS, epoch 1958, 16-bit days, milliseconds."""
MS_OF_DAY = 86_401_000
"""Number of milliseconds of the longest day, which has a leap second."""
TIME_EPOCH = datetime(1958, 1, 1, tzinfo=UTC)
"""Epoch of CDS time; a packet with this time was sent without a clock."""
SECONDARY_HEADER_OCTETS = TIME_CODE_OCTETS + 1

_UNIT_HEADER = struct.Struct(">BIHHHH")
UNIT_HEADER_OCTETS = _UNIT_HEADER.size
OVERHEAD_OCTETS = PRIMARY_HEADER_OCTETS + SECONDARY_HEADER_OCTETS + UNIT_HEADER_OCTETS + CRC_OCTETS
"""Octets that an unprotected packet adds to its segment."""
_UNIT_HEADER_AT = PRIMARY_HEADER_OCTETS + SECONDARY_HEADER_OCTETS


MAX_PARTS = 64
_PART_KIND = 15
"""Offset of the unit kind on the wire: part i > 0 of a tile refinement has the kind _PART_KIND + i.

Part 0 has the kind of TILE_REFINEMENT itself."""


class UnitKind(IntEnum):
    """Kind of content of a unit (docs/packet-format.md)."""

    SCENE_HEADER = 0
    TILE_BASE = 1
    TILE_REFINEMENT = 2
    SCENE_END = 3
    TILE_MASKS = 4
    TILE_EXACT = 5
    STRIP_BASIS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Coded piece of a scene that is decoded as a whole.

    Attributes:
        kind: kind of content.
        scene: identifier of the scene, 0..2**32 - 1, chosen by the sender; equal in every unit of the scene.
        row, column: position of the tile in the grid; zero for a scene header or a scene end.
        octets: coded content, at least one octet.
        part: part of a tile refinement, 0..MAX_PARTS - 1; zero for other kinds.
    """

    kind: UnitKind
    scene: int
    row: int
    column: int
    octets: bytes
    part: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.part < (MAX_PARTS if self.kind == UnitKind.TILE_REFINEMENT else 1):
            raise ValueError(f"a {self.kind.name} unit has no part {self.part}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Content of one packet whose CRC is correct.

    Attributes:
        octet: position in the stream where the packet begins.
        time: time of the sender, UTC; TIME_EPOCH if the sender had no clock.
        kind, scene, row, column, part: fields of the unit, as in `Unit`.
        index: number of the segment, from 0.
        count: number of segments of the unit.
        octets: octets of the unit that the segment carries.
    """

    octet: int
    time: datetime
    kind: UnitKind
    scene: int
    row: int
    column: int
    part: int
    index: int
    count: int
    octets: bytes


class Packetiser:
    """Turns units into packets, and numbers the packets of one APID."""

    def __init__(
        self,
        *,
        apid: int = DEFAULT_APID,
        packet_octets: int = DEFAULT_PACKET_OCTETS,
        clock: Callable[[], datetime] = lambda: TIME_EPOCH,
        protector: PacketProtector | None = None,
    ) -> None:
        """Begin with sequence count 0.

        Args:
            apid: application process identifier, 0..2046; 2047 marks idle packets.
            packet_octets: largest length of a packet, primary header included.
            clock: called once a unit; returns the time that its packets carry. By default the time is TIME_EPOCH.
            protector: protects every packet; None leaves the packets unprotected.

        Raises:
            ValueError: `apid` or `packet_octets` is outside the limits of CCSDS 133.0-B-2.
        """
        if not 0 <= apid <= 2046:
            raise ValueError(f"apid {apid} is outside 0..2046")
        overhead = OVERHEAD_OCTETS + (SECURITY_OCTETS if protector else 0)
        if not overhead < packet_octets <= MAX_PACKET_OCTETS:
            raise ValueError(f"packet length {packet_octets} is outside {overhead + 1}..{MAX_PACKET_OCTETS}")
        self._apid = apid
        self._protector = protector
        self._clock = clock
        self._overhead: int = overhead
        self._capacity: int = packet_octets - overhead
        self._sequence_count = 0

    def octets(self, unit: Unit) -> int:
        """Return the total length of the packets of one unit."""
        return len(unit.octets) + self._count(unit) * self._overhead

    def _count(self, unit: Unit) -> int:
        return -(-len(unit.octets) // self._capacity)

    def packets(self, unit: Unit) -> Iterator[bytes]:
        """Yield the packets of one unit, in order.

        Raises:
            ValueError: the unit is empty or needs more than 65,535 packets.
        """
        count = self._count(unit)
        if not 1 <= count <= 0xFFFF:
            raise ValueError(f"a unit of {len(unit.octets)} octets needs {count} packets; 1..65535 are possible")
        kind = _PART_KIND + unit.part if unit.part else unit.kind
        version = FORMAT_VERSION | (PROTECTED if self._protector else 0)
        secondary_header = _time_code(self._clock()) + bytes([version])
        for index in range(count):
            segment = unit.octets[index * self._capacity : (index + 1) * self._capacity]
            header = SpacePacketHeader(
                packet_type=PacketType.TM,
                sec_header_flag=True,
                apid=self._apid,
                seq_count=self._sequence_count,
                data_len=self._overhead + len(segment) - PRIMARY_HEADER_OCTETS - 1,
                seq_flags=_sequence_flags(index, count),
            )
            self._sequence_count = (self._sequence_count + 1) % SEQUENCE_MODULUS
            body = bytes(header.pack()) + secondary_header
            content = _UNIT_HEADER.pack(kind, unit.scene, unit.row, unit.column, index, count) + segment
            body += self._protector.protected(body, content) if self._protector else content
            yield body + _crc(body).to_bytes(CRC_OCTETS, "big")


def _sequence_flags(index: int, count: int) -> SequenceFlags:
    """Return the flags of CCSDS 133.0-B-2, 4.1.3.4.2: one bit for the first segment, one for the last."""
    return SequenceFlags((index == 0) | (index == count - 1) << 1)


def _time_code(time: datetime) -> bytes:
    days, within = divmod(time - TIME_EPOCH, timedelta(days=1))
    if not 0 <= days < 2**16:
        raise ValueError(f"{time} has no CDS time code with 16-bit days; 1958 to 2137 are possible")
    # Pass integers: the conversion of the library from a datetime rounds in floating point.
    stamp = CdsShortTimestamp(days, within // timedelta(milliseconds=1), init_dt_unix_stamp=False)
    return bytes(stamp.pack())


def _time(time_code: bytes) -> datetime:
    days, ms_of_day = CdsShortTimestamp.unpack_from_raw(time_code)
    if ms_of_day >= MS_OF_DAY:
        raise DecodeError(f"a time code counts {ms_of_day} ms in a day")
    return TIME_EPOCH + timedelta(days=days, milliseconds=ms_of_day)


def _crc(octets: bytes) -> int:
    """Return the packet error control of ECSS-E-ST-70-41C, annex B.1: CRC-16, polynomial 0x1021, preset to ones."""
    import fastcrc  # a dependency of spacepackets

    return int(fastcrc.crc16.ibm_3740(octets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Stretch of a stream that is not an intact packet.

    Attributes:
        octet: position in the stream where the stretch begins.
        reason: what is wrong, with the numbers.
    """

    octet: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Undamaged packet that was dropped.

    Attributes:
        octet: position in the stream where the packet begins.
        refusal: reason.
    """

    octet: int
    refusal: Refusal


# First octets of a packet of this format: version 0, telemetry, secondary header; five octets of any value; P-field
# and time; format version. It is a lookahead, because candidates may overlap.
_CANDIDATE = re.compile(
    rb"(?=[\x08-\x0f].{5}\x%02x.{6}[\x%02x\x%02x])" % (TIME_CODE_ID, FORMAT_VERSION, PROTECTED | FORMAT_VERSION),
    re.DOTALL,
)


def parse_stream(stream: bytes, opener: PacketOpener | None = None) -> Iterator[Segment | Damage | Refused]:
    """Yield the segments of a stream of packets.

    Idle packets (APID 2047) are skipped. If no intact packet begins at a position, the parser searches octet by octet
    for the next one. So a damaged length field cannot hide the packets after it.

    Args:
        stream: packets, one after another.
        opener: opens protected packets and makes the parser refuse unprotected ones; None refuses protected packets.
    """
    position = 0
    while position < len(stream):
        idle = _idle_octets(stream, position)
        if idle:
            position += idle
            continue
        try:
            packet = _packet(stream, position)
        except DecodeError as error:
            yield Damage(octet=position, reason=str(error))
            position = _next_packet(stream, position + 1)
            continue
        yield _content(packet, position, opener)
        position += len(packet)


def _idle_octets(stream: bytes, position: int) -> int:
    """Return the length of the idle packet that begins here (CCSDS 133.0-B-2, 4.1.3.3.4.4), or 0."""
    if stream[position : position + 2] != IDLE_PACKET_ID or len(stream) - position < PRIMARY_HEADER_OCTETS + 1:
        return 0
    octets = int(SpacePacketHeader.unpack(stream[position : position + PRIMARY_HEADER_OCTETS]).packet_len)
    return octets if octets <= len(stream) - position else 0


def _next_packet(stream: bytes, position: int) -> int:
    """Return the position of the next packet with a correct CRC, or the end of the stream."""
    for match in _CANDIDATE.finditer(stream, position):
        try:
            _packet(stream, match.start())
        except DecodeError:
            continue
        return match.start()
    return len(stream)


def _packet(stream: bytes, position: int) -> bytes:
    """Return the packet of this format that begins here.

    Raises:
        DecodeError: no such packet begins here, or its CRC is wrong.
    """
    left = len(stream) - position
    if left < OVERHEAD_OCTETS + 1:
        raise DecodeError(f"{left} octets are left, and a packet has at least {OVERHEAD_OCTETS + 1}")
    header = SpacePacketHeader.unpack(stream[position : position + PRIMARY_HEADER_OCTETS])
    octets = int(header.packet_len)
    if header.ccsds_version != 0 or header.packet_type != PacketType.TM or not header.sec_header_flag:
        raise DecodeError("not a telemetry packet of this format")
    time_code_id, version = stream[position + PRIMARY_HEADER_OCTETS], stream[position + _UNIT_HEADER_AT - 1]
    if time_code_id != TIME_CODE_ID or version & ~PROTECTED != FORMAT_VERSION:
        raise DecodeError(
            f"time code {time_code_id:#04x}, packet format {version & ~PROTECTED}: this decoder reads time code "
            f"{TIME_CODE_ID:#04x} and format {FORMAT_VERSION}"
        )
    if octets <= OVERHEAD_OCTETS + (SECURITY_OCTETS if version & PROTECTED else 0):
        raise DecodeError(f"a packet of {octets} octets is too short for its headers")
    if octets > left:
        raise DecodeError(f"a packet announces {octets} octets and {left} are left")
    packet = stream[position : position + octets]
    if int.from_bytes(packet[-CRC_OCTETS:], "big") != _crc(packet[:-CRC_OCTETS]):
        raise DecodeError(f"packet {header.seq_count} fails its CRC")
    return packet


def _content(packet: bytes, position: int, opener: PacketOpener | None) -> Segment | Damage | Refused:
    """Return the segment that an intact packet carries, or the reason for which it carries none."""
    headers, content = packet[:_UNIT_HEADER_AT], packet[_UNIT_HEADER_AT:-CRC_OCTETS]
    try:
        if headers[-1] & PROTECTED:
            if opener is None:
                return Refused(octet=position, refusal=Refusal.NO_KEY)
            content = opener.opened(headers, content)
        elif opener is not None:
            return Refused(octet=position, refusal=Refusal.UNPROTECTED)
        return _segment(headers, content, position)
    except RefusedError as error:
        return Refused(octet=position, refusal=error.refusal)
    except DecodeError as error:
        return Damage(octet=position, reason=str(error))


def _segment(headers: bytes, content: bytes, position: int) -> Segment:
    kind, scene, row, column, index, count = _UNIT_HEADER.unpack_from(content)
    part = 0
    if _PART_KIND < kind < _PART_KIND + MAX_PARTS:
        kind, part = UnitKind.TILE_REFINEMENT, kind - _PART_KIND
    if kind >= len(UnitKind):
        raise DecodeError(
            f"unit kind {kind}: 0..{len(UnitKind) - 1} and {_PART_KIND + 1}..{_PART_KIND + MAX_PARTS - 1} are defined"
        )
    if index >= count or SpacePacketHeader.unpack(headers).seq_flags != _sequence_flags(index, count):
        raise DecodeError(f"segment {index} of {count} disagrees with its sequence flags")
    return Segment(
        octet=position,
        time=_time(headers[PRIMARY_HEADER_OCTETS:]),
        kind=UnitKind(kind),
        scene=scene,
        row=row,
        column=column,
        part=part,
        index=index,
        count=count,
        octets=content[UNIT_HEADER_OCTETS:],
    )
