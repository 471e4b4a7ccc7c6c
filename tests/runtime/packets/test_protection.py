from __future__ import annotations

import copy
import itertools
import json
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fastcrc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime import cli
from hyvic_runtime.errors import SecurityError
from hyvic_runtime.packets.protection import (
    MAX_NUMBER,
    REPLAY_WINDOW,
    SECURITY_HEADER_OCTETS,
    SECURITY_OCTETS,
    PacketOpener,
    PacketProtector,
    Refusal,
    RefusedError,
    ReplayWindow,
    read_key,
)
from hyvic_runtime.packets.space_packet import (
    OVERHEAD_OCTETS,
    Packetiser,
    Refused,
    Segment,
    Unit,
    UnitKind,
    parse_stream,
)
from scenes import BANDS, smooth_cube

KEY = bytes(range(32))
OTHER_KEY = bytes(32)


def _unit(octets: bytes) -> Unit:
    return Unit(kind=UnitKind.TILE_REFINEMENT, scene=0xCAFE, row=2, column=3, octets=octets)


def _protected(octets: bytes = b"content", packet_octets: int = 100, key: bytes = KEY) -> list[bytes]:
    return list(Packetiser(packet_octets=packet_octets, protector=PacketProtector(key)).packets(_unit(octets)))


def _refusals(stream: bytes, key: bytes | None = KEY) -> list[Refusal]:
    found = parse_stream(stream, None if key is None else PacketOpener(key))
    return [item.refusal for item in found if isinstance(item, Refused)]


@given(st.binary(min_size=1, max_size=500), st.integers(OVERHEAD_OCTETS + SECURITY_OCTETS + 1, 200))
@settings(deadline=None)
def test_protected_units_come_back_whatever_the_packet_length(octets: bytes, packet_octets: int) -> None:
    packets = _protected(octets, packet_octets)
    assert all(len(packet) <= packet_octets for packet in packets)
    segments = list(parse_stream(b"".join(packets), PacketOpener(KEY)))
    assert b"".join(s.octets for s in segments if isinstance(s, Segment)) == octets


def test_nothing_of_the_unit_stands_in_a_protected_packet() -> None:
    content = b"a content that is long enough not to occur by chance"
    assert not any(content[i : i + 6] in packet for packet in _protected(content, 200) for i in range(40))


def test_another_key_and_no_key_open_nothing() -> None:
    stream = b"".join(_protected(bytes(100)))
    packets = len(_protected(bytes(100)))
    assert _refusals(stream, OTHER_KEY) == [Refusal.FORGED] * packets
    assert _refusals(stream, None) == [Refusal.NO_KEY] * packets


def test_an_unprotected_packet_is_refused_where_a_key_is_given() -> None:
    (packet,) = Packetiser().packets(_unit(b"x"))
    assert _refusals(packet) == [Refusal.UNPROTECTED]


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_no_changed_octet_is_accepted_even_with_a_matching_crc(data: st.DataObject) -> None:
    (packet,) = _protected()
    forged = bytearray(packet)
    for _ in range(data.draw(st.integers(1, 3))):
        forged[data.draw(st.integers(0, len(packet) - 3))] ^= data.draw(st.integers(1, 255))
    if forged[:-2] == packet[:-2]:
        return
    forged[-2:] = fastcrc.crc16.ibm_3740(bytes(forged[:-2])).to_bytes(2, "big")
    opener = PacketOpener(KEY)
    assert not [item for item in parse_stream(bytes(forged), opener) if isinstance(item, Segment)]
    # A forgery neither takes memory nor keeps the true packet out.
    assert not opener._sessions
    assert [type(item) for item in parse_stream(packet, opener)] == [Segment]


def test_a_packet_that_comes_again_is_dropped_and_counted() -> None:
    first, second, *rest = _protected(bytes(200))
    assert rest
    found = list(parse_stream(first + second + first, PacketOpener(KEY)))
    assert [type(item) for item in found] == [Segment, Segment, Refused]
    assert _refusals(first + second + first) == [Refusal.REPLAYED]


@given(st.lists(st.integers(0, 3 * REPLAY_WINDOW), max_size=60))
def test_the_replay_window_is_a_set_of_recent_numbers(numbers: list[int]) -> None:
    window, seen = ReplayWindow(), set[int]()
    for number in numbers:
        newest = max(seen, default=-1)
        assert window.is_new(number) == (number not in seen and newest - number < REPLAY_WINDOW)
        if window.is_new(number):
            window.mark(number)
            seen.add(number)
    assert window.seen.bit_length() <= REPLAY_WINDOW


def test_the_largest_jump_takes_no_memory() -> None:
    window = ReplayWindow()
    window.mark(0)
    window.mark(MAX_NUMBER)
    assert window.seen.bit_length() == 1
    assert not window.is_new(0)


def test_no_nonce_serves_twice_over_sessions_and_threads() -> None:
    def numbers(protector: PacketProtector) -> list[bytes]:
        return [protector.protected(b"", b"x")[2:SECURITY_HEADER_OCTETS] for _ in range(500)]

    with ThreadPoolExecutor(8) as threads:
        used = [n for _ in range(5) for found in threads.map(numbers, [PacketProtector(KEY)] * 8) for n in found]
    assert len(set(used)) == len(used) == 5 * 8 * 500


def test_a_forked_process_begins_another_session(monkeypatch: pytest.MonkeyPatch) -> None:
    protector = PacketProtector(KEY)
    parent = protector.protected(b"", b"x")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    child = protector.protected(b"", b"x")
    assert parent[2:18] != child[2:18]


def test_a_session_cannot_be_copied() -> None:
    protector = PacketProtector(KEY)
    with pytest.raises(TypeError):
        copy.deepcopy(protector)
    with pytest.raises(TypeError):
        pickle.dumps(protector)
    twin = copy.copy(protector)
    assert protector.protected(b"", b"x")[:SECURITY_HEADER_OCTETS] != twin.protected(b"", b"x")[:SECURITY_HEADER_OCTETS]


def test_a_session_ends_before_its_numbers_wrap() -> None:
    protector = PacketProtector(KEY)
    protector._numbers = itertools.count(MAX_NUMBER)
    assert protector.protected(b"", b"x")[18:22] == b"\xff" * 4
    with pytest.raises(SecurityError, match="protects 4294967296 packets; begin a new session"):
        protector.protected(b"", b"x")


def test_opening_is_bound_to_the_headers() -> None:
    protected = PacketProtector(KEY).protected(b"headers", b"content")
    assert PacketOpener(KEY).opened(b"headers", protected) == b"content"
    with pytest.raises(RefusedError, match="forged"):
        PacketOpener(KEY).opened(b"Headers", protected)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    return path


def test_a_key_is_32_octets_for_its_owner_alone(key_file: Path) -> None:
    assert read_key(key_file) == KEY
    for mode in (0o640, 0o604, 0o620):
        key_file.chmod(mode)
        with pytest.raises(SecurityError, match="by other users: chmod 600"):
            read_key(key_file)
    key_file.chmod(0o600)
    for size in (0, 31, 33):
        key_file.write_bytes(bytes(size))
        with pytest.raises(SecurityError, match=f"holds {size} octets; a key is 32 random ones"):
            read_key(key_file)
    with pytest.raises(SecurityError, match="cannot be read"):
        read_key(key_file.with_name("none"))
    with pytest.raises(SecurityError, match="cannot be read"):
        read_key(key_file.parent)
    with pytest.raises(ValueError, match="key has 16 octets"):
        PacketProtector(bytes(16))
    with pytest.raises(ValueError, match="key has 16 octets"):
        PacketOpener(bytes(16))


def test_a_protected_scene_comes_back_for_its_key_alone(
    tmp_path: Path, key_file: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, stream, out = (tmp_path / name for name in ("scene.npz", "scene.packets", "decoded.npy"))
    np.savez(scene, cube=smooth_cube(40, 50, BANDS))
    common = ["--bundle", str(tiny_bundle), "--out"]
    secret = ["--key", str(key_file)]
    small = ["--packet-octets", "200"]
    assert cli.encode_scene([str(scene), *common, str(tmp_path / "clear"), *small]) == 0
    assert cli.encode_scene([str(scene), *common, str(stream), *small, *secret]) == 0
    assert cli.decode_packets([str(tmp_path / "clear"), *common, str(tmp_path / "clear.npy")]) == 0
    capsys.readouterr()

    # Two forged packets among the true ones, one of them unprotected, and a replay: dropped, counted, no harm.
    octets = stream.read_bytes()
    forged = _protected(b"x", key=OTHER_KEY)[0]
    (clear,) = Packetiser().packets(_unit(b"x"))
    first = octets[: 7 + int.from_bytes(octets[4:6], "big")]
    stream.write_bytes(forged + octets + clear + first)
    assert cli.decode_packets([str(stream), *common, str(out), *secret, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["refused"] == {"forged": 1, "unprotected": 1, "replayed": 1}
    assert np.array_equal(np.load(out), np.load(tmp_path / "clear.npy"))

    out.unlink()
    assert cli.decode_packets([str(stream), *common, str(out)]) == 1
    assert "pass the key of the encoder as --key" in capsys.readouterr().err
    key_file.write_bytes(OTHER_KEY)
    assert cli.decode_packets([str(stream), *common, str(out), *secret, "--conceal"]) == 1
    error = capsys.readouterr().err
    assert "no scene header" in error
    assert "packets refused as forged: is --key the key of the encoder?" in error
    assert cli.decode_packets([str(tmp_path / "clear"), *common, str(out), *secret]) == 1
    assert "refused as unprotected: was the stream encoded without --key?" in capsys.readouterr().err
    assert not out.exists()


def test_without_cryptography_the_extra_is_named(
    key_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    assert cli.encode_scene(["none.npz", "--bundle", "none", "--out", "none", "--key", str(key_file)]) == 1
    assert "pip install 'hyvic-onboard[security]'" in capsys.readouterr().err
