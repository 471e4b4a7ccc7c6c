"""Scene to packets and back, against the model's own reconstruction of the whole scene in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import BANDS, SHIPPED_CHECKPOINT, smooth_cube
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.bundle import Bundle, read_bundle
from hyvic_runtime.decoder import Quality, SceneDecoder, receive
from hyvic_runtime.encoder import SceneEncoder
from hyvic_runtime.errors import DecodeError, LostTilesError, SceneError
from hyvic_runtime.metrics import psnr
from hyvic_runtime.scene import Scene
from hyvic_runtime.space_packet import OVERHEAD_OCTETS, Packetiser, UnitKind
from hyvic_train.checkpoint import load_checkpoint
from whole_scene import code_whole_scene


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return read_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def encoder(bundle: Bundle) -> SceneEncoder:
    return SceneEncoder(bundle)


@pytest.fixture(scope="module")
def decoder(bundle: Bundle) -> SceneDecoder:
    return SceneDecoder(bundle)


def _packets(encoder: SceneEncoder, cube: np.ndarray, packet_octets: int = 8192) -> list[bytes]:
    packetiser = Packetiser(packet_octets=packet_octets)
    return [p for packets in encoder.tile_packets(Scene(cube=cube), packetiser) for p in packets]


def _decoded_symbols(decoder: SceneDecoder, stream: bytes, cube: np.ndarray) -> np.ndarray:
    received = receive(stream)
    grid = decoder._grid(received.header)
    stride, size = grid.geometry.latent_stride, grid.geometry.latents
    channels = decoder.bundle.manifest.latent_channels
    symbols = np.full((channels, -(-cube.shape[0] // stride), -(-cube.shape[1] // stride)), 10**6)
    for tile in grid:
        decoded = decoder.tile_latents(received.units, tile)
        assert decoded.symbols is not None
        _, lines, samples = decoded.symbols.shape
        line, sample = tile.row * size, tile.column * size
        symbols[:, line : line + lines, sample : sample + samples] = decoded.symbols
    return symbols


@pytest.mark.parametrize("shape", [(32, 32), (45, 71), (1, 1), (33, 5), (3, 64)])
def test_the_decoder_gets_the_encoders_symbols_and_torchs_picture(
    encoder: SceneEncoder, decoder: SceneDecoder, tiny_checkpoint: Path, shape: tuple[int, int]
) -> None:
    cube = smooth_cube(*shape, BANDS, seed=11)
    stream = b"".join(_packets(encoder, cube))
    model = load_checkpoint(tiny_checkpoint).model
    expected = code_whole_scene(model, cube, encoder.bundle.manifest.geometry)

    # What the encoder's graph chose is what the decoder reads, to the last symbol.
    grid = encoder.grid(Scene(cube=cube))
    size = grid.geometry.latents
    symbols = _decoded_symbols(decoder, stream, cube)
    for tile in grid:
        chosen = encoder.symbols(Scene(cube=cube), grid, tile, encoder.mean_spectrum(Scene(cube=cube))).symbols
        line, sample = tile.row * size, tile.column * size
        area = symbols[:, line : line + chosen.shape[1], sample : sample + chosen.shape[2]]
        assert np.array_equal(area, chosen)

    # Torch sums in another order: a latent within float32 rounding of a half may round the other way, and the
    # 1,000 or more latents here come nowhere near one.
    assert np.array_equal(symbols, expected.symbols)

    decoded = decoder.decode(stream)
    assert (decoded.quality == Quality.EXACT).all()
    # The picture: rounded to integers, so equal unless torch's value lies within float32 rounding of a half.
    # 1e-2 digital numbers is 1e-6 of the peak: ten float32 ulps after some thirty operations.
    difference = np.abs(np.moveaxis(decoded.scene.cube, -1, 0) - expected.reconstruction.clip(0, 65535))
    assert difference.max() <= 0.5 + 1e-2


def test_tile_borders_do_not_show(
    encoder: SceneEncoder, decoder: SceneDecoder, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Pixels at the borders of small tiles come out as well as in a tile that has no border there."""
    from hyvic_export.exporter import bundle_from_checkpoint

    bundle_from_checkpoint(tiny_checkpoint, tmp_path / "one-tile", tile=128)
    one_tile = read_bundle(tmp_path / "one-tile")
    near = np.abs((np.arange(128) + 8) % 32 - 8) < 8
    border = near[:, None] | near[None, :]
    for seed in range(5, 9):
        cube = smooth_cube(128, 128, BANDS, seed)
        seamless = SceneDecoder(one_tile).decode(b"".join(_packets(SceneEncoder(one_tile), cube))).scene.cube
        tiled = decoder.decode(b"".join(_packets(encoder, cube))).scene.cube
        figures = [psnr(cube[border][None], decoded[border][None], 10_000) for decoded in (tiled, seamless)]
        assert abs(figures[0] - figures[1]) < 0.1


def test_a_late_receiver_finds_a_scene_header(encoder: SceneEncoder) -> None:
    packets = _packets(encoder, smooth_cube(9 * 32, 32, BANDS))
    headers = [index for index, packet in enumerate(packets) if packet[7] == UnitKind.SCENE_HEADER]
    assert headers == [0, 1 + 4 * 2, 2 + 8 * 2]
    assert packets[headers[0]][6:-2] == packets[headers[1]][6:-2]


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8])
def test_the_sample_type_comes_back(encoder: SceneEncoder, decoder: SceneDecoder, dtype: type[np.integer]) -> None:
    cube = (smooth_cube(32, 32, BANDS) % np.iinfo(dtype).max).astype(dtype)
    assert decoder.decode(b"".join(_packets(encoder, cube))).scene.cube.dtype == dtype


def test_tiles_of_one_scene_differ_in_nothing_but_their_place(encoder: SceneEncoder) -> None:
    """Each tile's packets stand alone: the second strip's are the same whether the first was coded or not."""
    cube = smooth_cube(64, 32, BANDS)
    grid = encoder.grid(Scene(cube=cube))
    second = grid.tile(1, 0)
    mean = encoder.mean_spectrum(Scene(cube=cube))
    alone = encoder.symbols(Scene(cube=cube), grid, second, mean)
    encoder.symbols(Scene(cube=cube), grid, grid.tile(0, 0), mean)
    again = encoder.symbols(Scene(cube=cube), grid, second, mean)
    assert np.array_equal(alone.symbols, again.symbols)


def test_the_order_of_packets_does_not_matter_nor_do_duplicates(encoder: SceneEncoder, decoder: SceneDecoder) -> None:
    packets = _packets(encoder, smooth_cube(70, 40, BANDS), packet_octets=200)
    straight = decoder.decode(b"".join(packets)).scene.cube
    shuffled = packets + packets[::3]
    np.random.default_rng(0).shuffle(shuffled)
    assert np.array_equal(decoder.decode(b"".join(shuffled)).scene.cube, straight)


def test_a_lost_packet_is_an_error_unless_it_may_be_concealed(encoder: SceneEncoder, decoder: SceneDecoder) -> None:
    cube = smooth_cube(64, 64, BANDS)
    packets = _packets(encoder, cube)
    whole = decoder.decode(b"".join(packets)).scene.cube
    # Scene header, then ẑ and latent of tile (0, 0), of tile (0, 1), and so on; every unit fits one packet here.
    assert len(packets) == 1 + 4 * 2
    no_latent = b"".join(packets[:2] + packets[3:])
    with pytest.raises(LostTilesError, match=r"1 of 4 tiles .*tile 0, 0: its latent did not arrive whole"):
        decoder.decode(no_latent)
    decoded = decoder.decode(no_latent, conceal=True)
    assert (decoded.quality[:32, :32] == Quality.MEANS).all()
    assert (decoded.quality[32:] == Quality.EXACT).all()
    assert (decoded.quality[:32, 32:] == Quality.EXACT).all()
    # Beyond the latents' reach of the hit tile the picture is the whole one's.
    assert np.array_equal(decoded.scene.cube[32:, 32:], whole[32:, 32:])

    nothing = b"".join([packets[0], *packets[3:]])
    decoded = decoder.decode(nothing, conceal=True)
    assert (decoded.quality[:32, :32] == Quality.LOST).all()
    assert (decoded.scene.cube[:32, :32] == 0).all()
    assert np.array_equal(decoded.scene.cube[32:, 32:], whole[32:, 32:])


def test_two_scenes_in_one_stream_are_not_mixed(encoder: SceneEncoder, decoder: SceneDecoder) -> None:
    cube = smooth_cube(32, 32, BANDS)
    streams = [
        p
        for i in (1, 2)
        for packets in encoder.tile_packets(Scene(cube=cube), Packetiser(), scene_id=i)
        for p in packets
    ]
    with pytest.raises(DecodeError, match=r"holds 2 scenes \(\[1, 2\]\)"):
        decoder.decode(b"".join(streams))


def test_a_stream_of_another_bundle_is_refused(encoder: SceneEncoder, tiny_checkpoint: Path, tmp_path: Path) -> None:
    from hyvic_export.exporter import bundle_from_checkpoint

    bundle_from_checkpoint(tiny_checkpoint, tmp_path / "other", tile=64)
    other = SceneDecoder(read_bundle(tmp_path / "other"))
    with pytest.raises(DecodeError, match="decode it with the bundle that encoded it"):
        other.decode(b"".join(_packets(encoder, smooth_cube(32, 32, BANDS))))


def test_a_scene_of_other_bands_is_refused(encoder: SceneEncoder) -> None:
    with pytest.raises(SceneError, match="the scene has 19 bands and the bundle codes 20"):
        _packets(encoder, smooth_cube(32, 32, 19))


@pytest.fixture(scope="module")
def small_stream(encoder: SceneEncoder) -> bytes:
    return b"".join(_packets(encoder, smooth_cube(40, 40, BANDS), packet_octets=400))


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_no_single_flipped_bit_passes_unnoticed(
    decoder: SceneDecoder, small_stream: bytes, data: st.DataObject
) -> None:
    bit = data.draw(st.integers(0, 8 * len(small_stream) - 1))
    damaged = bytearray(small_stream)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DecodeError):
        decoder.decode(bytes(damaged))


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_no_truncation_passes_unnoticed(decoder: SceneDecoder, small_stream: bytes, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(small_stream) - 1))
    with pytest.raises(DecodeError):
        decoder.decode(small_stream[:size])


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_concealment_of_any_damage_marks_what_is_not_exact(
    decoder: SceneDecoder, small_stream: bytes, data: st.DataObject
) -> None:
    whole = decoder.decode(small_stream).scene.cube
    damaged = bytearray(small_stream)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged) - 1))
        damaged[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=20))
    try:
        decoded = decoder.decode(bytes(damaged), conceal=True)
    except DecodeError:
        return
    # Synthesis reaches one latent, four pixels, into a tile from the one behind it.
    for row in range(2):
        for column in range(2):
            beyond = decoded.quality[row * 32 : row * 32 + 36, column * 32 : column * 32 + 36]
            if (beyond == Quality.EXACT).all():
                area = np.s_[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32]
                assert np.array_equal(decoded.scene.cube[area], whole[area])


@pytest.mark.slow
def test_the_shipped_codec_on_a_real_scene(shipped_bundle: Path, indian_pines: np.ndarray) -> None:
    bundle = read_bundle(shipped_bundle)
    encoder, decoder = SceneEncoder(bundle), SceneDecoder(bundle)
    packets = _packets(encoder, indian_pines)
    stream = b"".join(packets)
    expected = code_whole_scene(load_checkpoint(SHIPPED_CHECKPOINT).model, indian_pines, bundle.manifest.geometry)

    # Of a million latents a few lie within float32 rounding of a half and may go either way in torch.
    symbols = _decoded_symbols(decoder, stream, indian_pines)
    differing = symbols != expected.symbols
    assert differing.mean() < 1e-5
    assert np.abs(symbols - expected.symbols).max() <= 1

    # The stream's size against the float entropy model's estimate: tables, integer path and coder included.
    estimate = expected.estimated_bits / 8 + len(packets) * OVERHEAD_OCTETS
    assert abs(len(stream) - estimate) < 0.01 * estimate

    # Pixels untouched by a differing symbol agree within float32 rounding: the decoder sums some thousand terms
    # of up to 1e4 digital numbers, so 5e-2 is 5e-6 of them; the half is the rounding to whole numbers.
    decoded = np.moveaxis(decoder.decode(stream).scene.cube, -1, 0).astype(np.float64)
    reconstruction = expected.reconstruction.clip(0, 65535)
    difference = np.abs(decoded - reconstruction)
    touched = np.zeros(indian_pines.shape[:2], bool)
    stride = bundle.manifest.geometry.latent_stride
    for _, line, sample in np.argwhere(differing):
        touched[
            max(0, (line - 1) * stride) : (line + 2) * stride, max(0, (sample - 1) * stride) : (sample + 2) * stride
        ] = True
    assert difference[:, ~touched].max() <= 0.5 + 0.05
