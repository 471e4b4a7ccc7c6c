"""The scene header's fields, by the words of docs/packet-format.md."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.georeference import Georeference
from hyvic_runtime.scene_header import (
    HeaderField,
    SceneHeader,
    pack_scene_end,
    unpack_scene_end,
    unpack_scene_header,
)

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
        (3, struct.pack(">2f", 500.0, 612.5)),
        (4, struct.pack(">6d", 1, 0.5, 2, 0.25, -1, 3) + b"EPSG:32633"),
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


def test_fields_of_a_later_version_are_passed_over_or_refused() -> None:
    assert unpack_scene_header(HEADER.pack() + b"\x80\x00\x01x").pack() == HEADER.pack()
    with pytest.raises(DecodeError, match=r"field 127 .* a newer decoder may know it"):
        unpack_scene_header(HEADER.pack() + b"\x7f\x00\x01x")
    with pytest.raises(DecodeError, match="there twice"):
        unpack_scene_header(HEADER.pack() + b"\x01\x00\x02xx")


@given(data=st.data())
def test_a_damaged_header_is_refused_or_is_a_header(data: st.DataObject) -> None:
    octets = bytearray(HEADER.pack())
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
