"""Streams in which scenes are mixed, as archives and virtual channels hold them."""

from __future__ import annotations

import fastcrc
import numpy as np
import pytest
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import scene_packets
from hyvic_runtime.errors import DecodeError, LostTilesError
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.protection import PacketProtector
from hyvic_runtime.packets.reassembly import NAMED_SCENES, receive
from hyvic_runtime.packets.space_packet import Packetiser, Unit, UnitKind
from hyvic_runtime.scene.scene import Scene
from scenes import ROOT, smooth_cube

SHAPES = {7: (40, 20), 8: (17, 33), 4_000_000_000: (5, 5)}
KEY = bytes(range(32))


@pytest.fixture(scope="module")
def decoder() -> LatentDecoder:
    return LatentDecoder(read_bundle(ROOT / "tests" / "golden" / "stream" / "bundle"))


@pytest.fixture(scope="module")
def packets(decoder: LatentDecoder) -> dict[int, list[bytes]]:
    """Of scenes of several sizes, by identifier."""
    return {scene_id: _packets(decoder, scene_id) for scene_id in SHAPES}


def _packets(decoder: LatentDecoder, scene_id: int, protector: PacketProtector | None = None) -> list[bytes]:
    scene = Scene(cube=smooth_cube(*SHAPES[scene_id], bands=6, seed=scene_id % 100))
    packetiser = Packetiser(packet_octets=150, protector=protector)
    tiles = scene_packets(LatentRowEncoder(decoder.bundle), scene, packetiser, scene_id=scene_id)
    return [packet for packets in tiles for packet in packets]


def _mixed(packets: dict[int, list[bytes]], seed: int = 0) -> bytes:
    """Interleaved at random."""
    every = [packet for scene in packets.values() for packet in scene]
    np.random.default_rng(seed).shuffle(every)
    return b"".join(every)


def _renamed(packet: bytes, scene_id: int) -> bytes:
    """As of another scene, its CRC matching: what one garbled packet of 65,536 looks like, or a forged one."""
    body = packet[:15] + scene_id.to_bytes(4, "big") + packet[19:-2]
    return body + fastcrc.crc16.ibm_3740(body).to_bytes(2, "big")


@pytest.mark.parametrize("seed", range(3))
def test_interleaved_scenes_come_out_as_each_does_alone(
    decoder: LatentDecoder, packets: dict[int, list[bytes]], seed: int
) -> None:
    stream = _mixed(packets, seed)
    received = decoder.receive(stream)
    assert set(received.scenes) == set(SHAPES)
    for scene_id in received.scenes:
        alone = decoder.decode(b"".join(packets[scene_id]))
        for decoded in (decoder.decode(stream, scene_id=scene_id), decoder.reconstruct(received, scene_id)):
            assert decoded.scene_id == alone.scene_id == scene_id
            assert np.array_equal(decoded.scene.cube, alone.scene.cube)
            assert (decoded.quality == Quality.EXACT).all()


def test_protected_scenes_mix_too(decoder: LatentDecoder, packets: dict[int, list[bytes]]) -> None:
    stream = _mixed({scene_id: _packets(decoder, scene_id, PacketProtector(KEY)) for scene_id in (7, 8)})
    for scene_id in (7, 8):
        alone = decoder.decode(b"".join(packets[scene_id]))
        assert np.array_equal(decoder.decode(stream, scene_id=scene_id, key=KEY).scene.cube, alone.scene.cube)


def test_which_of_several_scenes_must_be_said(decoder: LatentDecoder, packets: dict[int, list[bytes]]) -> None:
    with pytest.raises(DecodeError, match=r"holds 3 scenes \(7, 8, 4000000000\); choose one with --scene-id"):
        decoder.decode(_mixed(packets))
    with pytest.raises(DecodeError, match="scene 9: is not in the stream; it holds 7, 8, 4000000000"):
        decoder.decode(_mixed(packets), scene_id=9)


def test_an_invented_scene_is_counted_and_harms_none(decoder: LatentDecoder, packets: dict[int, list[bytes]]) -> None:
    whole = decoder.decode(b"".join(packets[7])).scene.cube
    stream = b"".join([*(_renamed(packets[7][3], invented) for invented in (99, 99, 100)), *packets[7]])
    decoded = decoder.decode(stream)
    assert np.array_equal(decoded.scene.cube, whole)
    assert decoded.damage == ()
    assert decoded.strays == {99: 2, 100: 1}
    with pytest.raises(DecodeError, match="scene 99: its scene header did not arrive whole"):
        decoder.decode(stream, scene_id=99)


def test_an_invented_scene_with_a_header_lacks_its_tiles_and_no_others(
    decoder: LatentDecoder, packets: dict[int, list[bytes]]
) -> None:
    stream = b"".join([_renamed(packets[7][0], 99), *packets[7]])
    assert (decoder.decode(stream, scene_id=7).quality == Quality.EXACT).all()
    with pytest.raises(LostTilesError, match="0 of 12 units arrived whole"):
        decoder.decode(stream, scene_id=99)


def test_a_scene_without_its_header_leaves_the_others(decoder: LatentDecoder, packets: dict[int, list[bytes]]) -> None:
    headless = [packet for packet in packets[8] if packet[14] != UnitKind.SCENE_HEADER]
    stream = b"".join(packets[7] + headless)
    decoded = decoder.decode(stream)
    assert decoded.scene_id == 7
    assert decoded.strays == {8: len(headless)}
    with pytest.raises(DecodeError, match="scene 8: its scene header did not arrive whole"):
        decoder.decode(stream, scene_id=8)
    with pytest.raises(DecodeError, match=r"no scene header among \d+ octets: its scene header did not arrive whole"):
        decoder.decode(b"".join(headless))


def test_a_scene_whose_header_is_none_leaves_the_others(
    decoder: LatentDecoder, packets: dict[int, list[bytes]]
) -> None:
    unit = Unit(kind=UnitKind.SCENE_HEADER, scene=5, row=0, column=0, octets=b"no header")
    stream = b"".join([*Packetiser().packets(unit), *packets[7]])
    assert decoder.decode(stream).strays == {5: 1}
    with pytest.raises(DecodeError, match="scene 5: a scene header has at least"):
        decoder.decode(stream, scene_id=5)


def test_a_dispute_stays_within_its_scene(decoder: LatentDecoder, packets: dict[int, list[bytes]]) -> None:
    disputing = _renamed(next(packet for packet in packets[8] if packet[14] == UnitKind.TILE_REFINEMENT), 7)
    stream = b"".join([*packets[7], *packets[8], disputing])
    assert decoder.decode(stream, scene_id=8).damage == ()
    with pytest.raises(LostTilesError, match="claims the same place"):
        decoder.decode(stream, scene_id=7)


def test_what_is_no_packet_may_have_been_of_any_scene(decoder: LatentDecoder, packets: dict[int, list[bytes]]) -> None:
    stream = b"".join([*packets[7], b"noise", *packets[8]])
    for scene_id in (7, 8):
        with pytest.raises(DecodeError, match="every tile is whole; the stream is damaged"):
            decoder.decode(stream, scene_id=scene_id)
        assert (decoder.decode(stream, scene_id=scene_id, conceal=True).quality == Quality.EXACT).all()


def test_what_many_scenes_share_is_not_copied_for_each(decoder: LatentDecoder, packets: dict[int, list[bytes]]) -> None:
    received = decoder.receive(b"noise" + _mixed(packets))
    assert received.damage
    assert all(received.scene(scene_id).damage is received.damage for scene_id in SHAPES)


def test_a_thousand_invented_scenes_are_named_in_a_line(
    decoder: LatentDecoder, packets: dict[int, list[bytes]]
) -> None:
    header = packets[7][0]
    stream = b"".join([*packets[7], *(_renamed(header, scene_id) for scene_id in range(1000, 2000))])
    received = receive(stream)
    assert len(received.scenes) == 1001
    with pytest.raises(DecodeError, match=f"and {1001 - NAMED_SCENES} more") as raised:
        received.scene()
    assert len(str(raised.value)) < 300
    assert (decoder.reconstruct(received, 7).quality == Quality.EXACT).all()
