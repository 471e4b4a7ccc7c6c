"""The scene header's fields, by the words of docs/packet-format.md."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.packets.scene_header import (
    HeaderField,
    SceneHeader,
    pack_scene_end,
    unpack_scene_end,
    unpack_scene_header,
)
from hyvic_runtime.scene.georeference import Georeference
from hyvic_runtime.scene.scene import SUPPORTED_DTYPES
from scenes import ROOT

DOCUMENT = (ROOT / "docs" / "packet-format.md").read_text(encoding="utf-8")
HEADER = SceneHeader(
    bundle_id=bytes(8),
    lines=0,
    samples=3,
    mean_spectrum=np.array([-1, 5], np.int16),
    no_data=-9999,
    saturated=32767,
    wavelengths=np.array([500.0, 612.5]),
    georeference=Georeference(transform=(1.0, 0.5, 2.0, 0.25, -1.0, 3.0), crs="EPSG:32633"),
)


def test_the_fields_are_where_the_document_says() -> None:
    octets = HEADER.pack()
    expected = [
        (1, struct.pack(">h", -9999)),
        (2, struct.pack(">h", 32767)),
        (4, struct.pack(">6d", 1, 0.5, 2, 0.25, -1, 3) + b"EPSG:32633"),
        # 500,000 = 0x7a120 and 612,500 - 2 x 500,000 = -387,500 = -0x5e9ac, octet by octet.
        (5, zlib.compress(b"\0\xff\x07\xfa\xa1\x16\x20\x54", 9)),
    ]
    assert octets[19 + 4 :] == b"".join(struct.pack(">BH", tag, len(c)) + c for tag, c in expected)
    for field in HeaderField:
        assert f"tag {field.value}, {field.name.lower().replace('_', ' ')}:" in DOCUMENT


def test_a_header_comes_back() -> None:
    header = unpack_scene_header(HEADER.pack())
    assert header.pack() == HEADER.pack()
    assert (header.no_data, header.saturated, header.lines) == (-9999, 32767, 0)
    assert header.georeference == HEADER.georeference
    assert header.wavelengths is not None
    assert header.wavelengths.tolist() == [500.0, 612.5]


BARE = replace(HEADER, no_data=None, saturated=None, wavelengths=None, georeference=None)


def _with_centres(centres: Any) -> SceneHeader:
    return replace(BARE, mean_spectrum=None, bands=len(centres), wavelengths=np.array(centres, np.float64))


@given(st.lists(st.floats(50, 500_000), min_size=1, max_size=300))
def test_band_centres_come_back_to_the_picometre(centres: list[float]) -> None:
    decoded = unpack_scene_header(_with_centres(centres).pack()).wavelengths
    assert decoded is not None
    assert abs(decoded - centres).max() <= 0.0005 * (1 + 1e-6)


def test_band_centres_of_a_sensor_take_a_third_of_single_precision() -> None:
    """EnMAP's, to the thousandths of a nm that its products give."""
    document = json.loads((ROOT / "docs" / "results" / "scene-facts.json").read_text())
    centres = document["scenes"]["enmap_hyspecnet11k_a_224"]["wavelengths"]
    octets = _with_centres(centres).pack()
    assert len(octets) < 4 * 224 / 3
    decoded = unpack_scene_header(octets).wavelengths
    assert decoded is not None
    assert decoded.tolist() == centres


@pytest.mark.parametrize("centres", [[0.0004], [0.4235, 0.61], [30.0004, 700], [500, 600_000.0]])
def test_centres_that_picometres_would_change_stay_in_single_precision(centres: list[float]) -> None:
    octets = _with_centres(centres).pack()
    assert struct.pack(">BH", HeaderField.WAVELENGTHS, 4 * len(centres)) in octets
    decoded = unpack_scene_header(octets).wavelengths
    assert decoded is not None
    assert decoded.tolist() == np.array(centres, np.float32).tolist()


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        (bytes(7), "holds 7 octets; 2 bands need 8"),
        (bytes(8), r"at 0\.\.0 pm; 1\.\."),
        (b"\x7f\0" + bytes(6), r"at 2130706432\.\.4261412864 pm"),
        (bytes(9), "not one whole zlib stream of at most 8"),
    ],
)
def test_band_centres_that_are_none_are_refused(planes: bytes, message: str) -> None:
    content = zlib.compress(planes)
    with pytest.raises(DecodeError, match=message):
        unpack_scene_header(BARE.pack() + struct.pack(">BH", 5, len(content)) + content)


def test_band_centres_are_given_once() -> None:
    octets = HEADER.pack() + struct.pack(">BH2f", 3, 8, 500.0, 612.5)
    with pytest.raises(DecodeError, match="gives the band centres twice"):
        unpack_scene_header(octets)


@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES, ids=str)
def test_a_header_without_a_mean_spectrum_comes_back(dtype: np.dtype[np.integer[Any]]) -> None:
    header = SceneHeader(bundle_id=bytes(8), lines=7, samples=3, mean_spectrum=None, bands=300, dtype=dtype, no_data=1)
    octets = header.pack()
    fixed = bytes(8) + struct.pack(">IIHB", 7, 3, 300, 128 + SUPPORTED_DTYPES.index(dtype))
    assert octets == fixed + struct.pack(">BH", 1, dtype.itemsize) + np.array(1, dtype.newbyteorder(">")).tobytes()
    decoded = unpack_scene_header(octets)
    assert decoded == header
    with_mean = replace(header, mean_spectrum=np.full(300, 5, dtype)).pack()
    assert with_mean[18] == octets[18] - 128
    assert len(with_mean) == len(octets) + 300 * dtype.itemsize


def test_bands_and_type_are_the_mean_spectrums() -> None:
    for header in (HEADER, unpack_scene_header(HEADER.pack())):
        assert (header.bands, header.dtype) == (2, np.dtype(np.int16))
    with pytest.raises(ValueError, match=r"the cube holds .*; uint8, int8, uint16, int16 are possible"):
        SceneHeader(bundle_id=bytes(8), lines=1, samples=1, mean_spectrum=None, bands=2)
    with pytest.raises(ValueError, match=r"bands is 0; 1\.\.65535"):
        SceneHeader(bundle_id=bytes(8), lines=1, samples=1, mean_spectrum=None, dtype=np.dtype(np.uint8))


@pytest.mark.parametrize("code", [4, 127, 132, 255])
def test_a_sample_type_that_is_not_defined_is_refused(code: int) -> None:
    octets = bytearray(HEADER.pack())
    octets[18] = code
    with pytest.raises(DecodeError, match=rf"sample type {code}; 0\.\.3 and 128\.\.131 are defined"):
        unpack_scene_header(bytes(octets))


def test_fields_of_a_later_version_are_passed_over_or_refused() -> None:
    assert unpack_scene_header(HEADER.pack() + b"\x80\x00\x01x").pack() == HEADER.pack()
    with pytest.raises(DecodeError, match=r"field 127 .* a newer decoder may know it"):
        unpack_scene_header(HEADER.pack() + b"\x7f\x00\x01x")
    with pytest.raises(DecodeError, match="repeated"):
        unpack_scene_header(HEADER.pack() + b"\x01\x00\x02xx")


@given(data=st.data(), header=st.sampled_from([HEADER, replace(HEADER, mean_spectrum=None)]))
def test_a_damaged_header_is_refused_or_is_a_header(data: st.DataObject, header: SceneHeader) -> None:
    octets = bytearray(header.pack())
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    octets = octets[: data.draw(st.integers(0, len(octets)))]
    try:
        unpack_scene_header(bytes(octets))
    except DecodeError:
        return


def test_a_scene_end_holds_a_possible_number_of_lines() -> None:
    assert unpack_scene_end(pack_scene_end(300)) == 300
    for octets in (b"", bytes(4), b"\xff" * 4, bytes(5)):
        with pytest.raises(DecodeError, match="a scene end"):
            unpack_scene_end(octets)
    with pytest.raises(ValueError, match="a scene ends after 0 lines"):
        pack_scene_end(0)
