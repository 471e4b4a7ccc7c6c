"""CCSDS Space Packets that carry the coded units of a scene.

Primary headers are spacepackets' (CCSDS 133.0-B-2, 4.1.3). The packet data field holds

    secondary header: time code (7 octets), format version (1) │ unit header (13) │ a segment of the unit's octets
    │ CRC-16 of all before it (2)

where unit header and segment may be protected (packet_security.py). The time code is CDS (CCSDS 301.0-B-4, 3.3), the
one that spacepackets has: days since 1958 and milliseconds of the day.

A unit longer than a packet is segmented; the sequence flags say first, continuation, last or unsegmented,
and the unit header numbers the segments, so that a receiver can begin anywhere. The layout octet by octet
stands in docs/packet-format.md.
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
"""The bit beside the format version that says so."""
PRIMARY_HEADER_OCTETS = 6
CRC_OCTETS = 2
SEQUENCE_MODULUS = 2**14
IDLE_PACKET_ID = b"\x07\xff"
MAX_PACKET_OCTETS = PRIMARY_HEADER_OCTETS + 2**16
DEFAULT_PACKET_OCTETS = 8192
MAX_GRID = 2**16
"""Rows, and columns, of tiles that the unit header can number."""
DEFAULT_APID = 0x123

TIME_CODE_OCTETS = CdsShortTimestamp.TIMESTAMP_SIZE
TIME_CODE_ID = 0x40
"""P-field of CCSDS 301.0-B-4, 3.3.2: CDS, the epoch of 1958, 16-bit days, milliseconds."""
MS_OF_DAY = 86_401_000
"""One more than the last; a leap second makes a day longer."""
TIME_EPOCH = datetime(1958, 1, 1, tzinfo=UTC)
"""Where CDS time begins; in a packet it says that the sender had no clock."""
SECONDARY_HEADER_OCTETS = TIME_CODE_OCTETS + 1

_UNIT_HEADER = struct.Struct(">BIHHHH")
UNIT_HEADER_OCTETS = _UNIT_HEADER.size
OVERHEAD_OCTETS = PRIMARY_HEADER_OCTETS + SECONDARY_HEADER_OCTETS + UNIT_HEADER_OCTETS + CRC_OCTETS
"""Octets of a packet that are not the unit's own."""
_UNIT_HEADER_AT = PRIMARY_HEADER_OCTETS + SECONDARY_HEADER_OCTETS


MAX_PARTS = 64
_PART_KIND = 15
"""On the wire a latent's part i has the unit kind _PART_KIND + i, but for part 0, which has LATENT's own."""


class UnitKind(IntEnum):
    """What a unit holds."""

    SCENE_HEADER = 0
    TILE_BASE = 1
    TILE_REFINEMENT = 2
    SCENE_END = 3
    TILE_MASKS = 4
    TILE_EXACT = 5
    STRIP_BASIS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A coded thing that is decoded as a whole.

    Attributes:
        kind: what it holds.
        scene: identifier that the sender gave the scene, 0..2**32 - 1; equal in every unit of it.
        row, column: the tile's place in the grid; zero for a scene header or end.
        octets: the coded content, at least one octet.
        part: of a latent, 0..MAX_PARTS - 1; otherwise zero.
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
    """One packet's content, its CRC already checked.

    Attributes:
        octet: where its packet begins in the stream.
        time: the sender's, UTC; TIME_EPOCH if it had no clock.
        kind, scene, row, column, part: the unit's.
        index, count: which of how many segments.
        octets: its share of the unit.
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
    """Numbers the packets of one APID."""

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
            apid: application process identifier, 0..2046 (2047 is the idle packet's).
            packet_octets: largest packet, primary header included.
            clock: the time to write into the packets of a unit, asked once a unit; by default none is known.
            protector: protects every packet; None: none is.

        Raises:
            ValueError: outside what CCSDS 133.0-B-2 allows.
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
        """What the packets of one unit take."""
        return len(unit.octets) + self._count(unit) * self._overhead

    def _count(self, unit: Unit) -> int:
        return -(-len(unit.octets) // self._capacity)

    def packets(self, unit: Unit) -> Iterator[bytes]:
        """The packets of one unit, in order."""
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
    if count == 1:
        return SequenceFlags.UNSEGMENTED
    if index == 0:
        return SequenceFlags.FIRST_SEGMENT
    return SequenceFlags.LAST_SEGMENT if index == count - 1 else SequenceFlags.CONTINUATION_SEGMENT


def _time_code(time: datetime) -> bytes:
    days, within = divmod(time - TIME_EPOCH, timedelta(days=1))
    if not 0 <= days < 2**16:
        raise ValueError(f"{time} has no CDS time code of 16-bit days; 1958 to 2137 have one")
    # From whole numbers: the library's own conversion from a datetime rounds in floating point.
    stamp = CdsShortTimestamp(days, within // timedelta(milliseconds=1), init_dt_unix_stamp=False)
    return bytes(stamp.pack())


def _time(time_code: bytes) -> datetime:
    days, ms_of_day = CdsShortTimestamp.unpack_from_raw(time_code)
    if ms_of_day >= MS_OF_DAY:
        raise DecodeError(f"a time code counts {ms_of_day} ms in a day")
    return TIME_EPOCH + timedelta(days=days, milliseconds=ms_of_day)


def _crc(octets: bytes) -> int:
    """CRC-16 with polynomial 0x1021 preset to ones, the packet error control of ECSS-E-ST-70-41C, annex B.1."""
    import fastcrc  # a dependency of spacepackets

    return int(fastcrc.crc16.ibm_3740(octets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A stretch of a stream that is no intact packet.

    Attributes:
        octet: where it begins.
        reason: what was wrong, with the numbers.
    """

    octet: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An undamaged packet that was dropped.

    Attributes:
        octet: where it begins.
        refusal: why.
    """

    octet: int
    refusal: Refusal


# First octets of a packet of this format: version 0, telemetry, a secondary header; five octets of any value; the time
# code's P-field and the time; the format version. A lookahead, so that candidates may overlap.
_CANDIDATE = re.compile(
    rb"(?=[\x08-\x0f].{5}\x%02x.{6}[\x%02x\x%02x])" % (TIME_CODE_ID, FORMAT_VERSION, PROTECTED | FORMAT_VERSION),
    re.DOTALL,
)


def parse_stream(stream: bytes, opener: PacketOpener | None = None) -> Iterator[Segment | Damage | Refused]:
    """Cut a file of packets into segments.

    Idle packets (APID 2047) are passed over. Where no intact packet begins, the next one is searched octet by
    octet, so that one damaged length does not swallow what follows.

    Args:
        stream: the file.
        opener: opens protected packets, and then others are refused; None: protected ones are.
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
    """Length of the idle packet that begins here (CCSDS 133.0-B-2, 4.1.3.3.4.4), or 0."""
    if stream[position : position + 2] != IDLE_PACKET_ID or len(stream) - position < PRIMARY_HEADER_OCTETS + 1:
        return 0
    octets = int(SpacePacketHeader.unpack(stream[position : position + PRIMARY_HEADER_OCTETS]).packet_len)
    return octets if octets <= len(stream) - position else 0


def _next_packet(stream: bytes, position: int) -> int:
    """Where the next packet with a matching CRC begins, or the end."""
    for match in _CANDIDATE.finditer(stream, position):
        try:
            _packet(stream, match.start())
        except DecodeError:
            continue
        return match.start()
    return len(stream)


def _packet(stream: bytes, position: int) -> bytes:
    """The packet of this format that begins here, its CRC checked."""
    left = len(stream) - position
    if left < OVERHEAD_OCTETS + 1:
        raise DecodeError(f"{left} octets are less than a packet")
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
    """What a packet holds."""
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
