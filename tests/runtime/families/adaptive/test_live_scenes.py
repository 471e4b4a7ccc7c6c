"""Lines as a sensor delivers them, and budgets, with an adaptive bundle."""

from __future__ import annotations

import numpy as np
import pytest
from coded_scenes import packets_of, pushed
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.downlink.rate_control import DownlinkBudget
from hyvic_runtime.errors import DecodeError, LostTilesError
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
from hyvic_runtime.packets.quality import LOWEST_QUALITY
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.scene.scene import Scene
from scenes import TILE, smooth_cube

BANDS = 5


@pytest.mark.parametrize("lines", [1, TILE, TILE + 9])
def test_a_scene_of_open_length_holds_the_tiles_of_the_announced_one(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, lines: int
) -> None:
    cube = smooth_cube(lines, 40, BANDS)
    packets = pushed(encoder, cube)
    decoded = decoder.decode(b"".join(packets))
    assert (decoded.quality == Quality.EXACT).all()
    assert np.array_equal(decoded.scene.cube, decoder.decode(scene_stream(encoder, Scene(cube=cube))).scene.cube)
    framing = (UnitKind.SCENE_HEADER, UnitKind.SCENE_END)
    tiles, announced = ([p[19:-2] for p in own if p[14] not in framing] for own in (packets, packets_of(encoder, cube)))
    assert tiles == announced
    assert [packet[14] for packet in packets].count(UnitKind.SCENE_END) == 2
    assert packets == pushed(encoder, cube, step=lines)


@pytest.mark.parametrize("lines", [5, TILE + 9])
@pytest.mark.parametrize("lost_basis", [False, True])
def test_without_its_end_a_scene_is_as_high_as_its_last_basis_says(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, lines: int, lost_basis: bool
) -> None:
    cube = smooth_cube(lines, 40, BANDS)
    packets = pushed(encoder, cube)
    whole = decoder.decode(b"".join(packets)).scene.cube
    last = (lines - 1) // TILE

    def kept(packet: bytes) -> bool:
        basis = packet[14] == UnitKind.STRIP_BASIS and int.from_bytes(packet[19:21], "big") == last
        return packet[14] != UnitKind.SCENE_END and not (lost_basis and basis)

    stream = b"".join(filter(kept, packets))
    with pytest.raises(DecodeError, match="the scene's end did not arrive, so its number of lines is not known"):
        decoder.decode(stream)
    if lost_basis and last == 0:
        with pytest.raises(DecodeError, match="no basis or lossless tile of so many arrived whole"):
            decoder.decode(stream, conceal=True)
        return
    decoded = decoder.decode(stream, conceal=True)
    if not lost_basis:
        assert np.array_equal(decoded.scene.cube, whole)
        assert (decoded.quality == Quality.EXACT).all()
        return
    assert len(decoded.quality) == (last + 1) * TILE
    assert (decoded.quality[last * TILE :] == Quality.LOST).all()
    assert np.array_equal(decoded.scene.cube[: last * TILE], whole[: last * TILE])


def test_a_starving_downlink_loses_details_first_and_says_so(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder
) -> None:
    # Noise that even the coarsest step does not swallow, so that there are details to leave out.
    cube = np.random.default_rng(0).integers(0, 65535, (2 * TILE, 2 * TILE, 3), np.uint16)
    least = len(scene_stream(encoder, Scene(cube=cube), quality=LOWEST_QUALITY))
    budget = DownlinkBudget(octets_per_line=0.7 * least / len(cube), window_lines=TILE)
    packets = pushed(encoder, cube, lines=len(cube), downlink=budget)
    assert sum(map(len, packets)) <= 0.7 * least
    with pytest.raises(LostTilesError, match="its sender left out details to keep its budget"):
        decoder.decode(b"".join(packets))
    assert (decoder.decode(b"".join(packets), conceal=True).quality == Quality.MEANS).any()
    kinds = [packet[14] for packet in packets]
    assert (kinds.count(UnitKind.STRIP_BASIS), kinds.count(UnitKind.TILE_BASE)) == (2, 4)
