from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.packets.space_packet import (
    OVERHEAD_OCTETS,
    Damage,
    Packetiser,
    Segment,
    Unit,
    UnitKind,
    parse_stream,
)


def _unit(octets: bytes, kind: UnitKind = UnitKind.TILE_REFINEMENT) -> Unit:
    return Unit(kind=kind, scene=0xCAFE, row=2, column=3, octets=octets)


def _stream(*units: Unit, packet_octets: int = 64) -> bytes:
    packetiser = Packetiser(apid=0x123, packet_octets=packet_octets)
    return b"".join(p for unit in units for p in packetiser.packets(unit))


def test_octets_of_a_packet_by_hand() -> None:
    """CCSDS 133.0-B-2, 4.1.3, and docs/packet-format.md, worked on paper."""
    packet = _stream(_unit(b"\xab\xcd"))
    assert packet[:-2].hex(" ") == (
        # version 0, telemetry, secondary header, APID 0x123 | unsegmented, count 0 | 8 + 13 + 2 + 2 - 1 octets
        "09 23 c0 00 00 18 "
        # CDS, no clock | format 2
        "40 00 00 00 00 00 00 02 "
        # latent, scene 0xcafe, row 2, column 3, segment 0 of 1
        "02 00 00 ca fe 00 02 00 03 00 00 00 01 "
        "ab cd"
    )
    assert int.from_bytes(packet[-2:], "big") == _crc_bitwise(packet[:-2])


@pytest.mark.parametrize(
    ("time", "octets"),
    [
        # 1958 to 2000 are 42 years with 10 leap days: 15340 = 0x3bec days.
        ("2000-01-01T00:00:00.001+00:00", "40 3bec 00000001"),
        # 31 + 29 + 31 + 14 days on; 12 h 34 min 56.789 s = 45296789 = 0x2b32c95 ms. Two hours east of UTC.
        ("2000-04-15T14:34:56.789999+02:00", "40 3c55 02b32c95"),
        ("1958-01-01T00:00:00+00:00", "40 0000 00000000"),
        ("2137-06-06T23:59:59.999+00:00", "40 ffff 05265bff"),
    ],
)
def test_the_time_code_is_the_books(time: str, octets: str) -> None:
    """CCSDS 301.0-B-4, 3.3, worked on paper."""
    moment = datetime.fromisoformat(time)
    (packet,) = Packetiser(clock=lambda: moment).packets(_unit(b"x"))
    assert packet[6:13] == bytes.fromhex(octets)
    (segment,) = parse_stream(packet)
    assert isinstance(segment, Segment)
    assert timedelta(0) <= moment - segment.time < timedelta(milliseconds=1)


@pytest.mark.parametrize("time", ["1957-12-31T23:59:59+00:00", "2137-06-07T00:00:00+00:00"])
def test_a_time_beyond_16_bits_of_days_is_refused(time: str) -> None:
    with pytest.raises(ValueError, match="1958 to 2137"):
        list(Packetiser(clock=lambda: datetime.fromisoformat(time)).packets(_unit(b"x")))


def test_a_day_that_is_too_long_is_damage() -> None:
    packet = bytearray(_stream(_unit(b"x")))
    packet[9:13] = (86_401_000).to_bytes(4, "big")
    packet[-2:] = _crc_bitwise(packet[:-2]).to_bytes(2, "big")
    (damage,) = parse_stream(bytes(packet))
    assert isinstance(damage, Damage)
    assert "counts 86401000 ms in a day" in damage.reason


def _crc_bitwise(octets: bytes) -> int:
    """The CRC of ECSS-E-ST-70-41C, annex B.1, as its shift register is drawn."""
    register = 0xFFFF
    for octet in octets:
        for bit in range(7, -1, -1):
            feedback = (register >> 15) ^ (octet >> bit & 1)
            register = (register << 1 & 0xFFFF) ^ (0x1021 if feedback else 0)
    return register


def test_the_crc_has_the_standards_check_values() -> None:
    # ECSS-E-ST-70-41C, annex B.1.5.
    for octets, expected in (("0000", 0x1D0F), ("000000", 0xCC9C), ("abcdef01", 0x04A2), ("1456f89a0001", 0x7FD5)):
        assert _crc_bitwise(bytes.fromhex(octets)) == expected


@given(st.binary(min_size=1, max_size=500), st.integers(OVERHEAD_OCTETS + 1, 200))
@settings(deadline=None)
def test_units_come_back_whatever_the_packet_length(octets: bytes, packet_octets: int) -> None:
    stream = _stream(_unit(octets), packet_octets=packet_octets)
    segments = list(parse_stream(stream))
    assert all(isinstance(s, Segment) for s in segments)
    assert b"".join(s.octets for s in segments if isinstance(s, Segment)) == octets
    first = segments[0]
    assert isinstance(first, Segment)
    assert (first.kind, first.scene, first.row, first.column) == (UnitKind.TILE_REFINEMENT, 0xCAFE, 2, 3)


def test_unit_kinds_that_are_not_defined_are_damage() -> None:
    for kind in UnitKind:
        (segment,) = parse_stream(_stream(_unit(b"x", kind)))
        assert isinstance(segment, Segment)
        assert segment.kind == kind
    for undefined in (*range(len(UnitKind), 16), 79, 255):
        packet = bytearray(_stream(_unit(b"x"))[:-2])
        packet[14] = undefined
        (damage,) = parse_stream(bytes(packet) + _crc_bitwise(bytes(packet)).to_bytes(2, "big"))
        assert isinstance(damage, Damage)
        assert damage.reason == f"unit kind {undefined}: 0..6 and 16..78 are defined"


def test_sequence_counts_wrap_at_14_bits() -> None:
    packetiser = Packetiser(packet_octets=OVERHEAD_OCTETS + 1)
    packets = list(packetiser.packets(_unit(bytes(16386))))
    counts = [int.from_bytes(p[2:4], "big") & 0x3FFF for p in packets]
    assert counts[16383:16386] == [16383, 0, 1]
    flags = [p[2] >> 6 for p in packets]
    assert flags[0] == 0b01
    assert flags[-1] == 0b10
    assert set(flags[1:-1]) == {0b00}


@given(st.data())
@settings(deadline=None)
def test_one_flipped_bit_costs_one_packet(data: st.DataObject) -> None:
    units = [_unit(bytes([i]) * 30) for i in range(5)]
    stream = bytearray(_stream(*units))
    bit = data.draw(st.integers(0, 8 * len(stream) - 1))
    stream[bit // 8] ^= 1 << bit % 8
    items = list(parse_stream(bytes(stream)))
    intact = [item.octets for item in items if isinstance(item, Segment)]
    hit = bit // 8 // (len(stream) // 5)
    assert intact == [unit.octets for i, unit in enumerate(units) if i != hit]
    assert any(isinstance(item, Damage) for item in items)


def test_garbage_between_packets_is_skipped() -> None:
    rng = np.random.default_rng(0)
    garbage = rng.bytes(3000)
    stream = garbage + _stream(_unit(b"one")) + garbage[:17] + _stream(_unit(b"two"))
    assert [i.octets for i in parse_stream(stream) if isinstance(i, Segment)] == [b"one", b"two"]


@given(st.binary(max_size=300))
def test_random_octets_are_never_a_packet(stream: bytes) -> None:
    assert all(isinstance(item, Damage) for item in parse_stream(stream))


@pytest.mark.parametrize(
    ("name", "value"), [("apid", 2047), ("apid", -1), ("packet_octets", 29), ("packet_octets", 70000)]
)
def test_fields_beyond_the_standard_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match="is outside"):
        Packetiser(**{name: value})
