from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rasterio
from hyvic_compare.codecs.codec import Codec
from hyvic_compare.codecs.codestream import decode_planes, encode_planes
from hyvic_compare.codecs.jpeg2000 import Jpeg2000
from hyvic_compare.codecs.jpeg_ls import JpegLsNearLossless
from hyvic_compare.codecs.pca import Pca
from hyvic_compare.codecs.pca_jpeg2000 import PcaJpeg2000
from hyvic_compare.codecs.spectral_basis import spectral_basis
from hyvic_compare.codecs.stream import CubeType, PayloadReader
from hyvic_compare.errors import TargetRatioError
from hyvic_compare.indian_pines import load_indian_pines
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.scene.scene import SUPPORTED_DTYPES, Scene
from hyvic_runtime.support.metrics import mean_squared_error, psnr
from scenes import smooth_cube

CODECS: tuple[Codec, ...] = (Jpeg2000(), Jpeg2000(per_band=True), Pca(), PcaJpeg2000(), JpegLsNearLossless())
FRAME_HEAD = 15


@pytest.fixture(params=CODECS, ids=lambda codec: codec.name)
def codec(request: pytest.FixtureRequest) -> Codec:
    chosen: Codec = request.param
    return chosen


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(cube=smooth_cube(60, 52, 24))


@pytest.fixture(scope="module")
def pines() -> Scene:
    return load_indian_pines()


@pytest.mark.parametrize("ratio", [3, 7.5])
def test_the_budget_is_met_and_the_cube_comes_back(codec: Codec, scene: Scene, ratio: float) -> None:
    stream = codec.encode(scene, ratio)
    # JPEG-LS has whole error limits to choose from: the next smaller one takes an eighth more.
    assert 0.88 * scene.cube.nbytes / ratio < len(stream) <= scene.cube.nbytes / ratio
    decoded = type(codec)(**{"per_band": True} if "per band" in codec.name else {}).decode(stream)
    assert decoded.shape == scene.cube.shape
    assert decoded.dtype == scene.cube.dtype
    # The sensor noise of 8 digital numbers is what goes first.
    assert psnr(scene.cube, decoded, 10_000) > 45


def test_more_octets_are_a_smaller_error(codec: Codec, scene: Scene) -> None:
    errors = [mean_squared_error(scene.cube, codec.decode(codec.encode(scene, ratio))) for ratio in (2, 4, 7)]
    assert errors == sorted(errors)


@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(9, 13, 5), (1, 40, 3), (40, 1, 2), (3, 3, 40)])
def test_every_type_and_odd_shapes(codec: Codec, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(5)
    info = np.iinfo(dtype)
    cube = np.sort(rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True), axis=0)
    scene = Scene(cube=cube)
    # As many octets as a tiny image's headers take.
    decoded = codec.decode(codec.encode(scene, cube.nbytes / (cube.nbytes * 2 + 400 + 500 * shape[2])))
    assert decoded.dtype == dtype
    assert decoded.shape == shape
    # PCA's words are what is not exact here: 16 bits of a component's range.
    assert np.abs(decoded.astype(int) - cube).max() <= max(3, (int(info.max) - int(info.min)) // 4000)


def test_a_scene_of_one_colour_is_coded(codec: Codec) -> None:
    scene = Scene(cube=np.full((32, 32, 6), 1234, np.int16))
    assert np.array_equal(codec.decode(codec.encode(scene, 5)), scene.cube)


def test_a_target_out_of_reach_is_said_with_the_numbers(codec: Codec, scene: Scene) -> None:
    with pytest.raises(TargetRatioError, match=r"CR 100000 allows 1 octets and the shortest stream found takes \d+"):
        codec.encode(scene, 100_000)
    with pytest.raises(ValueError, match="must be a positive number"):
        codec.encode(scene, 0)


def resealed(body: bytes) -> bytes:
    """A stream whose checksum is right, so that what is behind it is reached."""
    return body + zlib.crc32(body).to_bytes(4, "big")


def damaged(stream: bytes) -> Iterator[bytes]:
    rng = np.random.default_rng(7)
    body = stream[:-4]
    for end in (0, 1, 14, 15, 16, 18, 40, len(body) // 2, len(body) - 1):
        yield resealed(body[:end])
        yield stream[:end]
    for _ in range(60):
        changed = bytearray(body)
        # Headers first: they are what a decoder trusts.
        span = len(body) if rng.random() < 0.5 else 80
        for position in rng.integers(0, span, rng.integers(1, 4)):
            changed[position] ^= 1 << int(rng.integers(8))
        yield resealed(bytes(changed))
    for octets in (19, 60, 500):
        yield resealed(body[:FRAME_HEAD] + rng.bytes(octets))
        yield rng.bytes(octets)


def test_damage_raises_decode_error_or_gives_a_cube_and_nothing_else(codec: Codec, capfd: Any) -> None:
    stream = codec.encode(Scene(cube=smooth_cube(20, 24, 6)), 1.5)
    for broken in damaged(stream):
        try:
            decoded = codec.decode(broken)
        except DecodeError:
            continue
        assert decoded.ndim == 3
    assert capfd.readouterr().err == ""


def test_one_flipped_bit_is_noticed(codec: Codec, scene: Scene) -> None:
    stream = bytearray(codec.encode(scene, 4))
    stream[len(stream) // 2] ^= 4
    with pytest.raises(DecodeError, match="checksum does not match"):
        codec.decode(bytes(stream))


def test_another_codecs_stream_is_refused(scene: Scene) -> None:
    with pytest.raises(DecodeError, match=r"was written by codec 3; this one is 1 \(JPEG2000\)"):
        Jpeg2000().decode(Pca().encode(scene, 4))


def test_octets_after_the_end_are_refused(scene: Scene) -> None:
    for codec in (Pca(), Jpeg2000(per_band=True)):
        with pytest.raises(DecodeError, match="1 octets follow the end of the stream"):
            codec.decode(resealed(codec.encode(scene, 4)[:-4] + b"\0"))


def test_a_huge_cube_is_refused_before_room_is_made(scene: Scene) -> None:
    body = bytearray(Pca().encode(scene, 4)[:-4])
    body[5:13] = b"\x00\xff" * 4
    with pytest.raises(DecodeError, match="announces 16711935 × 16711935 × 24 samples"):
        Pca().decode(resealed(bytes(body)))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_jpeg_2000_is_what_rasterio_reads(scene: Scene) -> None:
    stream = Jpeg2000().encode(scene, 6)
    with rasterio.MemoryFile(stream[FRAME_HEAD:-4], ext=".j2k") as file, file.open() as image:
        assert image.driver == "JP2OpenJPEG"
        expected = np.moveaxis(image.read(), 0, 2)
    assert np.array_equal(Jpeg2000().decode(stream), expected)


def test_a_codestream_of_another_shape_is_refused() -> None:
    planes = np.moveaxis(smooth_cube(16, 20, 3), 2, 0)
    codestream = encode_planes(planes, 1000)
    assert decode_planes(codestream, (3, 16, 20), planes.dtype).shape == (3, 16, 20)
    for shape, dtype in (((3, 20, 16), "uint16"), ((2, 16, 20), "uint16"), ((3, 16, 20), "int16")):
        with pytest.raises(DecodeError, match="not a codestream of"):
            decode_planes(codestream, shape, np.dtype(dtype))


def test_pca_loses_what_the_svd_says(pines: Scene) -> None:
    """The energy of the components left out, from an independent SVD, and the noise of even levels: step² / 12."""
    cube = pines.cube[:60, :60]
    stream = Pca().encode(Scene(cube=cube), 17)
    components, _, bits = (int.from_bytes(stream[a:b], "big") for a, b in ((15, 17), (17, 19), (19, 20)))
    spectra = cube.reshape(-1, 200).astype(np.float64)
    u, s, _ = np.linalg.svd(spectra - spectra.mean(axis=0), full_matrices=False)
    left_out = (s[components:] ** 2).sum() / cube.size
    error = mean_squared_error(cube, Pca().decode(stream))
    # 0.2: rounding to digital numbers (1/12), a whole mean, components of 16 bits.
    coefficients = (u * s)[:, :components]
    steps = np.ptp(coefficients, axis=0) / (2**bits - 1)
    assert left_out < error < left_out + (steps**2).sum() / 12 / 200 + 0.2


def test_the_basis_keeps_what_an_svd_keeps(pines: Scene) -> None:
    cube = pines.cube[:60, :60]
    basis = spectral_basis(Scene(cube=cube)).leading(12)
    spectra = cube.reshape(-1, 200).astype(np.float64)
    energies = np.linalg.svd(spectra - spectra.mean(axis=0), compute_uv=False) ** 2
    decoded = basis.reconstruct(basis.coefficients(basis.products(cube)), CubeType.of(cube))
    # 1/12 is the rounding to digital numbers; 16-bit components and a whole mean cost about as much again.
    expected = energies[12:].sum() / cube.size + 1 / 12
    assert expected - 0.1 < mean_squared_error(cube, decoded) < expected + 0.2


def test_known_figures_of_indian_pines(pines: Scene) -> None:
    """PSNR at CR 128 over 10,000, as measured with other software: JPEG 2000 35.8 dB, PCA + JPEG 2000 42.9 dB."""
    for codec, expected in ((Jpeg2000(), 35.8), (PcaJpeg2000(), 42.9)):
        stream = codec.encode(pines, 128)
        assert 0.98 * pines.cube.nbytes / 128 < len(stream) <= pines.cube.nbytes / 128
        assert psnr(pines.cube, codec.decode(stream), 10_000) == pytest.approx(expected, abs=0.3)


def test_a_payload_is_never_read_past_its_end() -> None:
    payload = PayloadReader(b"abc")
    assert payload.take(2) == b"ab"
    with pytest.raises(DecodeError, match="need 2 octets, got 1"):
        payload.take(2)


@pytest.mark.parametrize("per_band", [False, True])
def test_jpeg2000_of_digital_numbers_does_not_depend_on_their_type(per_band: bool) -> None:
    cube = smooth_cube(64, 64, 8)
    codec = Jpeg2000(per_band=per_band)

    decoded = [codec.decode(codec.encode(Scene(cube=cube.astype(dtype)), 40)) for dtype in (np.uint16, np.int16)]

    assert np.array_equal(decoded[0], decoded[1].clip(0, None))
    assert decoded[0].max() < 2 * cube.max()
    bright = Scene(cube=np.full((64, 64, 4), 60_000, np.uint16))
    assert (codec.decode(codec.encode(bright, 8)) == 60_000).all()
