from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hyvic_compare.codecs.pca import Pca
from hyvic_compare.measure_codec import measure
from hyvic_compare.metrics import distortion
from hyvic_compare.peak_memory import PeakMemory
from hyvic_compare.preview import preview_of, telling_pixels
from hyvic_compare.results import TILE, Measurement
from hyvic_compare.scene_source import PreparedScene
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.scene.scene import Cube, Scene
from hyvic_runtime.support.metrics import psnr, spectral_angle, ssim
from scenes import smooth_cube
from skimage.metrics import peak_signal_noise_ratio

PEAK = 10_000.0


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(cube=smooth_cube(70, 66, 12), wavelengths=np.linspace(420, 2400, 12))


def noisy(cube: Cube) -> Cube:
    return (cube + np.random.default_rng(8).integers(-20, 21, cube.shape)).clip(0, None).astype(cube.dtype)


def measured(codec: object, scene: Scene, target_ratio: float | None = 8) -> Measurement:
    return measure(
        PreparedScene(scene=scene, content_sha256="", prepared=None),
        codec,  # type: ignore[arg-type]
        name="field",
        target_ratio=target_ratio,
        peak=PEAK,
        pixels=None,
    ).measurement


def test_fidelity_is_what_others_compute(scene: Scene) -> None:
    decoded = noisy(scene.cube)
    found = distortion(scene, decoded, PEAK)
    assert found.psnr_db == pytest.approx(psnr(scene.cube, decoded, PEAK))
    assert found.ssim == ssim(scene.cube, decoded, PEAK)
    assert found.spectral_angle_deg == spectral_angle(scene.cube, decoded)
    assert found.max_abs_error == 20
    for band in range(12):
        expected = peak_signal_noise_ratio(scene.cube[..., band], decoded[..., band], data_range=PEAK)
        assert found.band_psnr_db[band] == pytest.approx(expected)
    # 70 × 66 pixels hold 2 × 2 whole tiles of 32, by rows.
    assert len(found.tile_psnr_db) == 4
    second = (slice(0, TILE), slice(TILE, 2 * TILE))
    expected = peak_signal_noise_ratio(scene.cube[second], decoded[second], data_range=PEAK)
    assert found.tile_psnr_db[1] == pytest.approx(expected)


def test_an_exact_cube_is_infinitely_good_and_signed_extremes_do_not_overflow() -> None:
    low, high = np.full((8, 8, 2), -32768, np.int16), np.full((8, 8, 2), 32767, np.int16)
    assert distortion(Scene(cube=low), high, PEAK).max_abs_error == 65535
    exact = distortion(Scene(cube=low), low, PEAK)
    assert exact.psnr_db == float("inf")
    assert exact.band_psnr_db == (float("inf"), float("inf"))
    assert (exact.ssim, exact.max_abs_error) == (1, 0)


def test_samples_without_data_do_not_count(scene: Scene) -> None:
    decoded = noisy(scene.cube)
    cube = scene.cube.copy()
    cube[:35] = 65535
    half = distortion(Scene(cube=cube, no_data=65535), decoded, PEAK)
    assert half.psnr_db == pytest.approx(psnr(scene.cube[35:], decoded[35:], PEAK))
    assert half.max_abs_error == 20
    assert half.spectral_angle_deg == pytest.approx(spectral_angle(scene.cube[35:], decoded[35:]) / 2)
    assert half.tile_psnr_db[:2] == (float("inf"), float("inf"))


def test_a_point_has_rate_fidelity_and_cost(scene: Scene) -> None:
    point = measured(Pca(), scene)
    stream = Pca().encode(scene, 8)
    assert point.octets == len(stream)
    assert point.compression_ratio == pytest.approx(scene.cube.nbytes / len(stream))
    assert point.rate_bpppc == pytest.approx(16 / (scene.cube.nbytes / len(stream)))
    assert point.fidelity is not None
    assert point.fidelity.psnr_db == pytest.approx(psnr(scene.cube, Pca().decode(stream), PEAK))
    assert point.cost is not None
    assert point.cost.encode_s > 0
    assert point.cost.decode_s > 0
    assert point.cost.processor


@dataclass(frozen=True)
class Broken:
    """A codec that breaks one promise."""

    promise: str
    name: str = "broken"
    identity: str = "broken"

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        if self.promise == "memory":
            raise MemoryError
        return bytes(scene.cube.nbytes if self.promise == "budget" else 10)

    def decode(self, stream: bytes) -> Cube:
        if self.promise == "stream":
            raise DecodeError("not one of mine;\nsend another")
        return np.zeros((70, 66, 11 if self.promise == "shape" else 12), np.uint16)


@dataclass(frozen=True)
class Liar:
    """A lossless codec that loses."""

    name: str = "liar"
    identity: str = "liar"

    def encode_losslessly(self, scene: Scene) -> bytes:
        return b"nothing"

    def decode(self, stream: bytes) -> Cube:
        return np.zeros((70, 66, 12), np.uint16)


@pytest.mark.parametrize(
    ("promise", "gap"),
    [
        ("memory", "broken needs more memory than there is"),
        ("stream", "not one of mine; send another"),
        ("shape", r"broken gave (70, 66, 11) uint16 for a scene of (70, 66, 12) uint16"),
        ("budget", "broken took 110,880 octets where CR 8 allows 13,860"),
    ],
)
def test_a_codec_that_fails_is_a_gap_with_its_reason(scene: Scene, promise: str, gap: str) -> None:
    point = measured(Broken(promise), scene)
    assert point == Measurement(scene="field", codec="broken", target_ratio=8, gap=gap)


def test_a_lossless_codec_that_loses_is_a_gap(scene: Scene) -> None:
    assert measured(Liar(), scene, None).gap == "liar is called lossless and did not give the scene back"


def test_a_mistake_in_the_program_is_no_gap(scene: Scene) -> None:
    with pytest.raises(ValueError, match="PCA needs a target ratio"):
        measured(Pca(), scene, None)


def test_peak_memory_sees_what_was_freed_again() -> None:
    memory = PeakMemory()
    before = memory.megabytes()
    if before is None:
        pytest.skip("this system does not tell peak memory")
    np.ones(40_000_000, np.uint8)
    found = memory.megabytes()
    assert found is not None
    # Some other thread may take or free a little.
    assert 35 < found - before < 60


def test_an_exhibit_shows_both_in_one_stretch(scene: Scene) -> None:
    pixels = telling_pixels(scene)
    assert len(np.unique(pixels, axis=0)) == len(pixels) == 4
    assert np.array_equal(pixels, telling_pixels(scene))
    original, decoded = preview_of(scene, None, pixels), preview_of(scene, scene.cube, pixels)
    assert original.error is None
    assert np.array_equal(original.true_colour, decoded.true_colour)
    assert original.true_colour.min() == 0
    assert original.true_colour.max() == 255
    assert decoded.error is not None
    assert not decoded.error.any()
    line, sample = pixels[0]
    assert scene.cube[line, sample].mean() == scene.cube.mean(axis=2).max()
    assert np.array_equal(original.spectra[0], scene.cube[line, sample])
    shifted = preview_of(scene, scene.cube + np.uint16(3), pixels)
    assert shifted.error is not None
    assert np.allclose(shifted.error, 3)


def test_pixels_without_data_are_not_shown(scene: Scene) -> None:
    cube = scene.cube.copy()
    cube[:, :40] = 65535
    assert (telling_pixels(Scene(cube=cube, no_data=65535))[:, 1] >= 40).all()
