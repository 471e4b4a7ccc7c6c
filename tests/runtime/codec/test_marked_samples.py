"""No-data and saturated samples: left out of the mean, cheap, and exact on the ground."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from hyvic_runtime import cli
from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.scene_encoder import scene_packets
from hyvic_runtime.errors import DecodeError, SceneError
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.packets.space_packet import Packetiser, UnitKind
from hyvic_runtime.scene.files import read_scene, write_scene
from hyvic_runtime.scene.georeference import Georeference
from hyvic_runtime.scene.marked_samples import fill_line, pack_marks, unpack_marks
from hyvic_runtime.scene.scene import Scene, mean_spectrum, next_to_marked, resample_bands
from scenes import BANDS, smooth_cube

NO_DATA, SATURATED = 65535, 4095
GEOREFERENCE = Georeference(transform=(30.0, 0.0, 412_345.5, 0.0, -30.0, 5_123_456.25), crs="EPSG:32633")


def _rotated(lines: int = 70, samples: int = 75) -> tuple[Scene, np.ndarray]:
    """A scene as a map projection leaves it: a slanted swath in a rectangle; and where it has data."""
    y, x = np.mgrid[:lines, :samples]
    valid = (x + 0.3 * y > 20) & (x + 0.3 * y < 80) & (y - 0.2 * x > -5)
    cube = smooth_cube(lines, samples, BANDS)
    cube[~valid] = NO_DATA
    return Scene(cube=cube, no_data=NO_DATA, georeference=GEOREFERENCE), valid


def _packets(encoder: LatentRowEncoder, scene: Scene, saturated: int | None = None) -> list[bytes]:
    packets = scene_packets(encoder, scene, Packetiser(), scene_id=1, saturated=saturated)
    return [packet for tile in packets for packet in tile]


def test_no_data_takes_few_octets(encoder: LatentRowEncoder) -> None:
    scene, _ = _rotated(128, 96)
    whole = Scene(cube=smooth_cube(128, 96, BANDS))
    octets = [sum(map(len, _packets(encoder, s))) for s in (scene, whole, replace(scene, no_data=None))]
    assert octets[0] < octets[1] < octets[2] / 2
    marks = [len(packet) for packet in _packets(encoder, scene) if packet[14] == UnitKind.TILE_MASKS]
    assert max(marks) < 100  # of 1,024 pixels


def test_the_mean_is_that_of_samples_with_data() -> None:
    cube = np.array([[[10, 99], [99, 99]], [[21, 99], [99, 99]]], np.uint8)
    assert mean_spectrum(Scene(cube=cube, no_data=99)).tolist() == [16, 0]
    assert mean_spectrum(Scene(cube=cube)).tolist() == [57, 99]


@given(
    masks=st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 4)).flatmap(
        lambda shape: st.lists(arrays(bool, shape), min_size=1, max_size=2)
    )
)
def test_marks_come_back(masks: list[np.ndarray]) -> None:
    unpacked = unpack_marks(pack_marks(masks), count=len(masks), shape=masks[0].shape)
    assert all(np.array_equal(a, b) for a, b in zip(masks, unpacked, strict=True))


@given(octets=st.binary(max_size=60), inflate=st.booleans())
@settings(max_examples=300)
def test_random_marks_are_refused_or_are_masks(octets: bytes, inflate: bool) -> None:
    import zlib

    try:
        masks = unpack_marks(zlib.compress(octets) if inflate else octets, count=1, shape=(3, 5, 4))
    except DecodeError:
        return
    assert masks[0].shape == (3, 5, 4)


def test_marks_that_inflate_to_more_than_they_may_are_refused() -> None:
    import zlib

    with pytest.raises(DecodeError, match="the scene header names no marked value"):
        unpack_marks(zlib.compress(bytes(10**8)), count=0, shape=(8, 8, 8))
    with pytest.raises(DecodeError, match="not one whole zlib stream of at most"):
        unpack_marks(zlib.compress(bytes(10**8)), count=1, shape=(8, 8, 8))


def test_what_is_filled_in_fades_into_the_mean() -> None:
    line = np.full((9, 2), 1000, np.uint16)
    missing = np.zeros((9, 2), bool)
    missing[1:] = True
    fill_line(line, missing, np.array([200, 1000], np.uint16))
    assert line[:, 0].tolist() == [1000, 680, 488, 373, 304, 262, 237, 222, 213]
    assert (line[:, 1] == 1000).all()
    fill_line(line, np.ones((9, 2), bool), np.array([5, 6], np.uint16))
    assert (line == [5, 6]).all()


@pytest.mark.parametrize(
    ("value", "marked", "dtype", "beside"),
    [
        (255, (255, 254), "uint8", 253),
        (254, (255, 254), "uint8", 253),
        (0, (0, 1), "uint8", 2),
        (1, (0, 1), "uint8", 2),
        (1, (0, 1), "int16", -1),
        (-32768, (-32768, 32767), "int16", -32767),
    ],
)
def test_a_measurement_beside_a_marked_value_is_no_other_one(
    value: int, marked: tuple[int, int], dtype: str, beside: int
) -> None:
    assert next_to_marked(value, marked, np.dtype(dtype)) == beside


def test_values_that_cannot_mark_are_refused(encoder: LatentRowEncoder) -> None:
    with pytest.raises(SceneError, match=r"the no-data value is -9999; uint16 holds 0\.\.65535"):
        Scene(cube=np.zeros((1, 1, 1), np.uint16), no_data=-9999)
    with pytest.raises(SceneError, match="7 cannot mean both no data and saturation"):
        Acquisition(samples=1, dtype=np.dtype(np.uint8), no_data=7, saturated=7)


def test_resampling_passes_over_dead_bands_and_spreads_no_data() -> None:
    cube = np.array([[[100, 9, 300, 400], [100, 9, 9, 400]]], np.uint16)
    scene = Scene(cube=cube, wavelengths=np.array([400.0, 500, 600, 700]), no_data=9)
    resampled = resample_bands(scene, np.array([400.0, 500, 650, 700]))
    assert resampled.cube.tolist() == [[[100, 200, 350, 400], [100, 9, 9, 400]]]
    assert resampled.no_data == 9
    with pytest.raises(SceneError, match="every sample is the no-data value 9"):
        resample_bands(replace(scene, cube=np.full_like(cube, 9)), np.array([400.0]))


@pytest.mark.parametrize("suffix", [".tif", ".hdr"])
@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:32719", "EPSG:4326", "EPSG:3035", ""])
def test_georeference_no_data_and_wavelengths_go_from_file_to_file(
    tmp_path: Path, tiny_bundle: Path, suffix: str, crs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from rasterio.crs import CRS

    scene, _ = _rotated(40, 50)
    wavelengths = np.linspace(421, 2451, BANDS)  # 1 nm from the bundle's
    georeference = replace(GEOREFERENCE, crs=crs)
    write_scene(replace(scene, wavelengths=wavelengths, georeference=georeference), tmp_path / f"s{suffix}")
    stream, out = tmp_path / "p", tmp_path / f"d{suffix}"
    assert cli.encode_scene([str(tmp_path / f"s{suffix}"), "--bundle", str(tiny_bundle), "--out", str(stream)]) == 0
    assert cli.decode_packets([str(stream), "--bundle", str(tiny_bundle), "--out", str(out)]) == 0
    decoded = read_scene(out)
    assert decoded.no_data == NO_DATA
    assert np.array_equal(decoded.cube == NO_DATA, scene.cube == NO_DATA)
    assert decoded.wavelengths is not None
    assert abs(decoded.wavelengths - wavelengths).max() <= 0.0005
    assert decoded.georeference is not None
    assert decoded.georeference.transform == GEOREFERENCE.transform
    if crs:
        assert CRS.from_string(decoded.georeference.crs) == CRS.from_string(crs)
    capsys.readouterr()


def test_gdal_finds_an_envi_scene_where_we_do(tmp_path: Path) -> None:
    import rasterio

    for crs in ("EPSG:32633", "EPSG:3035"):
        write_scene(replace(_rotated(20, 20)[0], georeference=replace(GEOREFERENCE, crs=crs)), tmp_path / "s.hdr")
        with rasterio.open(tmp_path / "s.img") as dataset:
            assert tuple(dataset.transform)[:6] == GEOREFERENCE.transform
            assert dataset.crs.to_epsg() == int(crs[5:])


def test_envi_cannot_hold_a_rotated_grid(tmp_path: Path) -> None:
    rotated = replace(GEOREFERENCE, transform=(30.0, 3.0, 0.0, 3.0, -30.0, 0.0))
    scene = replace(_rotated(8, 8)[0], georeference=rotated)
    with pytest.raises(SceneError, match=r"rotated or mirrored grid; write \.tif instead"):
        write_scene(scene, tmp_path / "s.hdr")
    write_scene(scene, tmp_path / "s.tif")
    assert read_scene(tmp_path / "s.tif").georeference == rotated


def test_values_that_mark_can_be_named(tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, _ = _rotated(40, 50)
    np.savez(tmp_path / "s.npz", cube=scene.cube)
    rest = [str(tmp_path / "s.npz"), "--bundle", str(tiny_bundle), "--out", str(tmp_path / "p"), "--json"]
    assert cli.encode_scene([*rest, "--no-data", str(NO_DATA), "--saturated", "4000", "--min-psnr", "20"]) == 0
    assert json.loads(capsys.readouterr().out)["psnr_db"] < 60  # of the samples that have data
    assert (
        cli.decode_packets([str(tmp_path / "p"), "--bundle", str(tiny_bundle), "--out", str(tmp_path / "d.npz")]) == 0
    )
    decoded = read_scene(tmp_path / "d.npz")
    assert decoded.no_data == NO_DATA
    assert np.array_equal(decoded.cube == NO_DATA, scene.cube == NO_DATA)
    capsys.readouterr()
    assert cli.encode_scene([*rest, "--no-data", "-5"]) == 1
    assert "the no-data value is -5; uint16 holds" in capsys.readouterr().err
