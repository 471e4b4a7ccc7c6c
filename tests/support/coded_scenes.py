"""Short ways to packets and to what they hold."""

from __future__ import annotations

import numpy as np
from hyvic_runtime.codec.scene_encoder import scene_packets
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
from hyvic_runtime.packets.space_packet import Packetiser, Segment, parse_stream
from hyvic_runtime.scene.scene import Scene


def packets_of(
    encoder: AdaptiveRowEncoder,
    scene: Scene | np.ndarray,
    *,
    quality: float | None = None,
    progressive: bool = False,
    scene_id: int | None = None,
    saturated: int | None = None,
    packet_octets: int = 8192,
) -> list[bytes]:
    """All packets of a scene."""
    tiles = scene_packets(
        encoder,
        scene if isinstance(scene, Scene) else Scene(cube=scene),
        Packetiser(packet_octets=packet_octets),
        scene_id=scene_id,
        quality=quality,
        progressive=progressive,
        saturated=saturated,
    )
    return [packet for packets in tiles for packet in packets]


def segment_of(packet: bytes) -> Segment:
    """What a packet holds."""
    (segment,) = parse_stream(packet)
    assert isinstance(segment, Segment)
    return segment
