"""Streams of HyVIC: their units, losses, headers and refusals; CodecContract has what every family does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from coded_scenes import packets_of
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.errors import DecodeError, LostTilesError, SceneError
from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.packets.reassembly import receive
from hyvic_runtime.packets.scene_header import SceneHeader
from hyvic_runtime.packets.space_packet import Packetiser, Unit, UnitKind
from scenes import BANDS, smooth_cube


@pytest.mark.parametrize("quality", [-25.7, 130.75, float("nan")])
def test_a_quality_that_is_none_is_refused(encoder: LatentRowEncoder, quality: float) -> None:
    with pytest.raises(ValueError, match=r"is outside -25\.6\.\.130\.72"):
        packets_of(encoder, smooth_cube(8, 8, BANDS), quality=quality)


def test_each_tile_is_decoded_from_its_ownpackets_of(encoder: LatentRowEncoder, decoder: LatentDecoder) -> None:
    cube = smooth_cube(64, 64, BANDS)
    received = receive(b"".join(packets_of(encoder, cube))).scene()
    grid = decoder._grid(received.header)
    for tile in grid:
        own = {key: unit for key, unit in received.units.items() if (key.row, key.column) == (tile.row, tile.column)}
        assert len(own) == 2
        alone, among = decoder.tile_latents(own, tile), decoder.tile_latents(received.units, tile)
        assert np.array_equal(alone.latent, among.latent)


def test_a_lost_packet_is_an_error_unless_it_may_be_concealed(
    encoder: LatentRowEncoder, decoder: LatentDecoder
) -> None:
    cube = smooth_cube(64, 64, BANDS)
    packets = packets_of(encoder, cube)
    whole = decoder.decode(b"".join(packets)).scene.cube
    # Scene header, then ẑ of tile (0, 0), of (0, 1), latents of both, and so on; every unit fits one packet here.
    assert len(packets) == 1 + 4 * 2
    no_latent = b"".join(packets[:3] + packets[4:])
    with pytest.raises(LostTilesError, match=r"1 of 4 tiles .*7 of 8 units arrived whole"):
        decoder.decode(no_latent)
    decoded = decoder.decode(no_latent, conceal=True)
    assert (decoded.quality[:32, :32] == Quality.MEANS).all()
    assert (decoded.quality[32:] == Quality.EXACT).all()
    assert (decoded.quality[:32, 32:] == Quality.EXACT).all()
    assert np.array_equal(decoded.scene.cube[32:], whole[32:])

    # The last latents of the tiles before a lost one read its first ones.
    behind = decoder.decode(b"".join([*packets[:6], *packets[7:]]), conceal=True)
    assert (behind.quality[32:, 32:] == Quality.LOST).all()
    assert (behind.quality[28:32, 28:] == Quality.AFFECTED).all()
    assert (behind.quality[32:, 28:32] == Quality.AFFECTED).all()
    assert (behind.quality == Quality.EXACT).sum() == 64 * 64 - 32 * 32 - 4 * 36 - 4 * 32

    nothing = b"".join([packets[0], packets[2], *packets[4:]])
    decoded = decoder.decode(nothing, conceal=True)
    assert (decoded.quality[:32, :32] == Quality.LOST).all()
    assert (decoded.scene.cube[:32, :32] == 0).all()
    assert np.array_equal(decoded.scene.cube[32:, 32:], whole[32:, 32:])


def test_a_scene_of_other_bands_is_refused(encoder: LatentRowEncoder) -> None:
    with pytest.raises(SceneError, match="the scene has 19 bands and the bundle codes 20"):
        packets_of(encoder, smooth_cube(32, 32, 19))


def test_scenes_of_one_size_and_no_mean_are_told_apart(bundle: LatentBundle) -> None:
    """Without a mean spectrum two headers of one size are equal."""
    plain = LatentRowEncoder(replace(bundle, manifest=replace(bundle.manifest, mean_spectrum=False)))
    cube = smooth_cube(40, 40, BANDS)
    first, second = (packets_of(plain, c) for c in (cube, np.ascontiguousarray(cube[::-1])))
    assert first[0][27:-2] == second[0][27:-2]
    assert first[0][15:19] != second[0][15:19]


def test_a_header_that_announces_far_more_than_arrived_takes_no_memory(decoder: LatentDecoder) -> None:
    header = SceneHeader(
        bundle_id=decoder.bundle.stream_id, lines=60_000, samples=60_000, mean_spectrum=np.zeros(BANDS, np.uint16)
    )
    unit = Unit(kind=UnitKind.SCENE_HEADER, scene=1, row=0, column=0, octets=header.pack())
    stream = b"".join(Packetiser().packets(unit))
    with pytest.raises(DecodeError, match="tiles and only 0 units arrived"):
        decoder.decode(stream, conceal=True)
    with pytest.raises(LostTilesError, match="0 of 7031250 units arrived whole"):
        decoder.decode(stream)


def test_a_header_without_a_mean_spectrum_is_refused(encoder: LatentRowEncoder, decoder: LatentDecoder) -> None:
    packets = packets_of(encoder, smooth_cube(32, 32, BANDS))
    header = SceneHeader(
        bundle_id=decoder.bundle.stream_id,
        lines=32,
        samples=32,
        mean_spectrum=None,
        bands=BANDS,
        dtype=np.dtype(np.uint16),
    )
    scene = int.from_bytes(packets[1][15:19], "big")
    unit = Unit(kind=UnitKind.SCENE_HEADER, scene=scene, row=0, column=0, octets=header.pack())
    stream = b"".join([*Packetiser().packets(unit), *packets[1:]])
    for conceal in (False, True):
        with pytest.raises(DecodeError, match="header has no mean spectrum, which its bundle needs"):
            decoder.decode(stream, conceal=conceal)
