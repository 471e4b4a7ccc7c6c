"""Short ways to packets: the only place where tests of codec behaviour call an encoder's entry points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

import numpy as np
from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_encoder import SceneEncoder, scene_packets
from hyvic_runtime.downlink.rate_control import DownlinkBudget
from hyvic_runtime.packets.protection import PacketProtector
from hyvic_runtime.packets.space_packet import Packetiser, Segment, Unit, parse_stream
from hyvic_runtime.scene.scene import Scene


def packets_of(
    encoder: AnyEncoder,
    scene: Scene | np.ndarray,
    *,
    quality: float | None = None,
    progressive: bool = False,
    scene_id: int | None = None,
    saturated: int | None = None,
    packet_octets: int = 8192,
    protector: PacketProtector | None = None,
) -> list[bytes]:
    """Return all packets of a stored scene."""
    tiles = scene_packets(
        encoder,
        scene if isinstance(scene, Scene) else Scene(cube=scene),
        Packetiser(packet_octets=packet_octets, protector=protector),
        scene_id=scene_id,
        quality=quality,
        progressive=progressive,
        saturated=saturated,
    )
    return [packet for packets in tiles for packet in packets]


def stream_of(encoder: AnyEncoder, scene: Scene | np.ndarray, *, quality: float | None = None) -> bytes:
    """Return a stored scene's packets as one stream."""
    return b"".join(packets_of(encoder, scene, quality=quality))


def acquisition_of(cube: np.ndarray, lines: int | None = None) -> Acquisition:
    """Describe a live scene of the cube's samples, bands and type; `lines` is None for a scene of open length."""
    return Acquisition(samples=cube.shape[1], bands=cube.shape[2], dtype=cube.dtype, lines=lines)


def live_scene(
    encoder: AnyEncoder,
    acquisition: Acquisition,
    *,
    quality: float | None = None,
    downlink: DownlinkBudget | None = None,
) -> SceneEncoder:
    """Begin a scene whose lines are pushed later."""
    return SceneEncoder(encoder, acquisition, Packetiser(), quality=quality, downlink=downlink)


def pushed(
    encoder: AnyEncoder,
    cube: np.ndarray,
    *,
    lines: int | None = None,
    step: int = 7,
    downlink: DownlinkBudget | None = None,
) -> list[bytes]:
    """Return the packets of a scene whose lines are pushed `step` at a time."""
    scene = live_scene(encoder, acquisition_of(cube, lines), downlink=downlink)
    packets = [p for first in range(0, len(cube), step) for p in scene.push(cube[first : first + step])]
    return packets + scene.flush()


def segment_of(packet: bytes) -> Segment:
    """Return what a packet holds."""
    (segment,) = parse_stream(packet)
    assert isinstance(segment, Segment)
    return segment


def without(packets: list[bytes], lost: Callable[[Segment], bool]) -> bytes:
    """Join the packets but for the lost ones, of which there is at least one."""
    kept = [packet for packet in packets if not lost(segment_of(packet))]
    assert len(kept) < len(packets)
    return b"".join(kept)


def repacked(packet: bytes, octets: bytes) -> bytes:
    """Return a sound packet of the same place that holds other octets, as a faulty sender would make it."""
    segment = segment_of(packet)
    unit = Unit(
        kind=segment.kind,
        scene=segment.scene,
        row=segment.row,
        column=segment.column,
        octets=octets,
        part=segment.part,
    )
    return b"".join(Packetiser().packets(unit))


def interleaved(packets: Sequence[Sequence[bytes]]) -> bytes:
    """Return a stream that takes one packet of each scene in turn."""
    return b"".join(packet for turn in zip_longest(*packets, fillvalue=b"") for packet in turn)
