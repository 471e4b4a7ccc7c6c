"""Scene to packets and back, against the model's own reconstruction of the whole scene in torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import BANDS, SHIPPED_CHECKPOINT, smooth_cube
from damaged_streams import check_marks_of_damage
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_export.families.latent.entropy_model import entropy_model
from hyvic_export.families.latent.reference_codec import reference_coding
from hyvic_export.families.registry import exportable
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import DEFAULT_QUALITY, scene_packets
from hyvic_runtime.errors import DecodeError, LostTilesError, SceneError
from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.packets.reassembly import receive
from hyvic_runtime.packets.scene_header import SceneHeader
from hyvic_runtime.packets.space_packet import OVERHEAD_OCTETS, Packetiser, Unit, UnitKind
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import psnr
from hyvic_train.families.latent.checkpoint import load_checkpoint
from torch_codec import check_picture, check_tile, decoded_latents


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> LatentBundle:
    return read_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def encoder(bundle: LatentBundle) -> LatentRowEncoder:
    return LatentRowEncoder(bundle)


@pytest.fixture(scope="module")
def decoder(bundle: LatentBundle) -> LatentDecoder:
    return LatentDecoder(bundle)


def _packets(
    encoder: LatentRowEncoder, cube: np.ndarray, packet_octets: int = 8192, quality: float | None = None
) -> list[bytes]:
    packetiser = Packetiser(packet_octets=packet_octets)
    return [p for packets in scene_packets(encoder, Scene(cube=cube), packetiser, quality=quality) for p in packets]


@pytest.mark.parametrize(
    ("shape", "quality"), [((32, 32), 50), ((45, 71), 100), ((1, 1), 0), ((33, 5), 62.5), ((3, 64), 12.34)]
)
def test_the_decoder_gets_the_encoders_symbols_and_torchs_picture(
    encoder: LatentRowEncoder, decoder: LatentDecoder, tiny_checkpoint: Path, shape: tuple[int, int], quality: float
) -> None:
    _check_against_torch(encoder, decoder, tiny_checkpoint, smooth_cube(*shape, BANDS, seed=11), quality)


def _check_against_torch(
    encoder: LatentRowEncoder, decoder: LatentDecoder, checkpoint: Path, cube: np.ndarray, quality: float
) -> None:
    """Compare every stage with torch, within what float32 may round on any processor (tests/support/rounding.py)."""
    model, scene = load_checkpoint(checkpoint).model, Scene(cube=cube)
    entropy = entropy_model(exportable(model))
    stream = b"".join(_packets(encoder, cube, quality=quality))
    mean = encoder.mean_spectrum(scene)

    expected = reference_coding(exportable(model), entropy, cube, mean, encoder.bundle.manifest.geometry, quality)
    # What the encoder's graph chose is what the decoder reads, to the last symbol.
    grid = encoder.grid(scene)
    size = grid.geometry.latents
    symbols, _ = decoded_latents(decoder, stream)
    for tile in grid:
        chosen = encoder.symbols(scene, grid, tile, mean, quality_code(quality)).symbols
        line, sample = tile.row * size, tile.column * size
        area = symbols[:, line : line + chosen.shape[1], sample : sample + chosen.shape[2]]
        assert np.array_equal(area, chosen)
        near_a_half = check_tile(model, entropy, encoder, scene, tile, quality, expected.latent)
        assert near_a_half < 0.5  # or the comparison would say little

    decoded = decoder.decode(stream)
    assert (decoded.quality == Quality.EXACT).all()
    bound = check_picture(model, decoder, stream, mean)

    # Tiles are those of the whole scene: the picture is the reference's wherever all symbols are.
    if np.array_equal(symbols, expected.symbols):
        difference = np.abs(decoded.scene.cube - expected.reconstruction.clip(0, 65535))
        assert (difference <= 0.5 + bound).all()


def test_tile_borders_do_not_show(
    encoder: LatentRowEncoder, decoder: LatentDecoder, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Pixels at the borders of small tiles come out as well as in a tile that has no border there."""
    from hyvic_export.exporter import bundle_from_checkpoint

    bundle_from_checkpoint(tiny_checkpoint, tmp_path / "one-tile", tile=128)
    one_tile = read_bundle(tmp_path / "one-tile")
    near = np.abs((np.arange(128) + 8) % 32 - 8) < 8
    border = near[:, None] | near[None, :]
    for seed in range(5, 9):
        cube = smooth_cube(128, 128, BANDS, seed)
        seamless = LatentDecoder(one_tile).decode(b"".join(_packets(LatentRowEncoder(one_tile), cube))).scene.cube
        tiled = decoder.decode(b"".join(_packets(encoder, cube))).scene.cube
        figures = [psnr(cube[border][None], decoded[border][None], 10_000) for decoded in (tiled, seamless)]
        assert abs(figures[0] - figures[1]) < 0.1


def test_octets_and_fidelity_rise_with_the_quality(encoder: LatentRowEncoder, decoder: LatentDecoder) -> None:
    cube = smooth_cube(64, 64, BANDS, seed=3)
    figures = []
    for quality in (0, 25, 50, 75, 100):
        stream = b"".join(_packets(encoder, cube, quality=quality))
        figures.append((len(stream), psnr(cube, decoder.decode(stream).scene.cube, 10_000)))
    assert figures == sorted(figures)
    assert figures[-1][1] - figures[0][1] > 0.5
    assert _packets(encoder, cube) == _packets(encoder, cube, quality=50)


@pytest.mark.parametrize("quality", [-25.7, 130.75, float("nan")])
def test_a_quality_that_is_none_is_refused(encoder: LatentRowEncoder, quality: float) -> None:
    with pytest.raises(ValueError, match=r"is outside -25\.6\.\.130\.72"):
        _packets(encoder, smooth_cube(8, 8, BANDS), quality=quality)


def test_a_late_receiver_finds_a_scene_header(encoder: LatentRowEncoder) -> None:
    packets = _packets(encoder, smooth_cube(9 * 32, 32, BANDS))
    headers = [index for index, packet in enumerate(packets) if packet[14] == UnitKind.SCENE_HEADER]
    assert headers == [0, 1 + 4 * 2, 2 + 8 * 2]
    assert packets[headers[0]][14:-2] == packets[headers[1]][14:-2]


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8])
def test_the_sample_type_comes_back(encoder: LatentRowEncoder, decoder: LatentDecoder, dtype: type[np.integer]) -> None:
    cube = (smooth_cube(32, 32, BANDS) % np.iinfo(dtype).max).astype(dtype)
    assert decoder.decode(b"".join(_packets(encoder, cube))).scene.cube.dtype == dtype


def test_each_tile_is_decoded_from_its_own_packets(encoder: LatentRowEncoder, decoder: LatentDecoder) -> None:
    cube = smooth_cube(64, 64, BANDS)
    received = receive(b"".join(_packets(encoder, cube))).scene()
    grid = decoder._grid(received.header)
    for tile in grid:
        own = {key: unit for key, unit in received.units.items() if (key.row, key.column) == (tile.row, tile.column)}
        assert len(own) == 2
        alone, among = decoder.tile_latents(own, tile), decoder.tile_latents(received.units, tile)
        assert np.array_equal(alone.latent, among.latent)


def test_the_order_of_packets_does_not_matter_nor_do_duplicates(
    encoder: LatentRowEncoder, decoder: LatentDecoder
) -> None:
    packets = _packets(encoder, smooth_cube(70, 40, BANDS), packet_octets=200)
    straight = decoder.decode(b"".join(packets)).scene.cube
    shuffled = packets + packets[::3]
    np.random.default_rng(0).shuffle(shuffled)
    assert np.array_equal(decoder.decode(b"".join(shuffled)).scene.cube, straight)


def test_a_lost_packet_is_an_error_unless_it_may_be_concealed(
    encoder: LatentRowEncoder, decoder: LatentDecoder
) -> None:
    cube = smooth_cube(64, 64, BANDS)
    packets = _packets(encoder, cube)
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


def test_a_stream_of_another_bundle_is_refused(
    encoder: LatentRowEncoder, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from hyvic_export.exporter import bundle_from_checkpoint

    bundle_from_checkpoint(tiny_checkpoint, tmp_path / "other", tile=64)
    other = LatentDecoder(read_bundle(tmp_path / "other"))
    with pytest.raises(DecodeError, match="decode it with the bundle that encoded it"):
        other.decode(b"".join(_packets(encoder, smooth_cube(32, 32, BANDS))))


def test_a_scene_of_other_bands_is_refused(encoder: LatentRowEncoder) -> None:
    with pytest.raises(SceneError, match="the scene has 19 bands and the bundle codes 20"):
        _packets(encoder, smooth_cube(32, 32, 19))


@pytest.fixture(scope="module")
def small_stream(encoder: LatentRowEncoder) -> bytes:
    return b"".join(_packets(encoder, smooth_cube(40, 40, BANDS), packet_octets=400))


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_no_single_flipped_bit_passes_unnoticed(
    decoder: LatentDecoder, small_stream: bytes, data: st.DataObject
) -> None:
    bit = data.draw(st.integers(0, 8 * len(small_stream) - 1))
    damaged = bytearray(small_stream)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DecodeError):
        decoder.decode(bytes(damaged))


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_no_truncation_passes_unnoticed(decoder: LatentDecoder, small_stream: bytes, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(small_stream) - 1))
    with pytest.raises(DecodeError):
        decoder.decode(small_stream[:size])


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_concealment_of_any_damage_marks_what_is_not_exact(
    decoder: LatentDecoder, small_stream: bytes, data: st.DataObject
) -> None:
    check_marks_of_damage(decoder, small_stream, data, longest=40)


def test_a_damaged_latent_unit_leaves_the_means(encoder: LatentRowEncoder, decoder: LatentDecoder) -> None:
    """A unit whose packets are intact and whose content is not: what a faulty sender would send."""
    packets = _packets(encoder, smooth_cube(32, 32, BANDS))
    assert len(packets) == 3
    unit = Unit(
        kind=UnitKind.TILE_REFINEMENT, scene=int.from_bytes(packets[2][15:19], "big"), row=0, column=0, octets=bytes(8)
    )
    stream = b"".join([*packets[:2], *Packetiser().packets(unit)])
    with pytest.raises(LostTilesError, match="tile 0, 0: a coded unit"):
        decoder.decode(stream)
    assert (decoder.decode(stream, conceal=True).quality == Quality.MEANS).all()


def test_scenes_under_one_identifier_are_not_mixed(encoder: LatentRowEncoder, decoder: LatentDecoder) -> None:
    first, second = (
        [
            p
            for ps in scene_packets(encoder, Scene(cube=smooth_cube(40, 40, BANDS, seed)), Packetiser(), scene_id=5)
            for p in ps
        ]
        for seed in (1, 2)
    )
    with pytest.raises(DecodeError, match="no scene header"):
        decoder.decode(b"".join(first + second[:1]))
    with pytest.raises(LostTilesError, match="claims the same place"):
        decoder.decode(b"".join(first + second[1:3]))
    decoded = decoder.decode(b"".join(first + second[1:3]), conceal=True)
    assert (decoded.quality[:32, :32] == Quality.LOST).all()


def test_scenes_get_identifiers_of_their_own(encoder: LatentRowEncoder) -> None:
    streams = [_packets(encoder, smooth_cube(32, 32, BANDS, seed)) for seed in (1, 2, 1)]
    identifiers = [stream[0][15:19] for stream in streams]
    assert identifiers[0] == identifiers[2] != identifiers[1]


def test_scenes_of_one_size_and_no_mean_are_told_apart(bundle: LatentBundle) -> None:
    """Without a mean spectrum two headers of one size are equal."""
    plain = LatentRowEncoder(replace(bundle, manifest=replace(bundle.manifest, mean_spectrum=False)))
    cube = smooth_cube(40, 40, BANDS)
    first, second = (_packets(plain, c) for c in (cube, np.ascontiguousarray(cube[::-1])))
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
    packets = _packets(encoder, smooth_cube(32, 32, BANDS))
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


def test_idle_packets_are_passed_over(encoder: LatentRowEncoder, decoder: LatentDecoder) -> None:
    packets = _packets(encoder, smooth_cube(32, 32, BANDS))
    idle = bytes.fromhex("07ff c000 0009") + bytes(10)
    whole = decoder.decode(b"".join(packets))
    filled = decoder.decode(idle + idle.join(packets) + idle)
    assert filled.damage == ()
    assert np.array_equal(filled.scene.cube, whole.scene.cube)


@pytest.mark.slow
def test_the_shipped_codec_on_a_real_scene(shipped_bundle: Path, indian_pines: np.ndarray) -> None:
    bundle = read_bundle(shipped_bundle)
    encoder, decoder = LatentRowEncoder(bundle), LatentDecoder(bundle)
    _check_against_torch(encoder, decoder, SHIPPED_CHECKPOINT, indian_pines, DEFAULT_QUALITY)

    # The stream's size against the float entropy model's estimate: tables, integer path and coder included.
    packets = _packets(encoder, indian_pines)
    model, mean = load_checkpoint(SHIPPED_CHECKPOINT).model, encoder.mean_spectrum(Scene(cube=indian_pines))
    geometry = bundle.manifest.geometry
    expected = reference_coding(model, entropy_model(model), indian_pines, mean, geometry, DEFAULT_QUALITY)
    estimate = expected.estimated_bits / 8 + len(packets) * OVERHEAD_OCTETS
    assert abs(sum(map(len, packets)) - estimate) < 0.01 * estimate
