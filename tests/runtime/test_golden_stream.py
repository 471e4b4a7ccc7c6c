"""What was written once decodes for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from golden_bundles import unpack_bundle
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.registry import decoder_of, read_bundle
from hyvic_runtime.packets.protection import PacketOpener
from hyvic_runtime.packets.reassembly import receive
from hyvic_runtime.packets.space_packet import Segment, parse_stream
from rounding import FLOAT32, gamma
from scenes import ROOT

GOLDEN = ROOT / "tests" / "golden" / "stream"
KEY = bytes(range(32))
ROUNDINGS = 128
"""Longest path through the bundle's synthesis: 1×1 and two 3×3 convolutions of 6 and 4 channels, three IGDN, a mean."""


@pytest.mark.parametrize(("name", "key"), [("scene.packets", None), ("protected.packets", KEY)])
def test_the_golden_stream_decodes(name: str, key: bytes | None) -> None:
    decoder = LatentDecoder(read_bundle(GOLDEN / "bundle"))
    decoded = decoder.decode((GOLDEN / name).read_bytes(), key=key)
    assert (decoded.quality == Quality.EXACT).all()
    assert (decoded.damage, decoded.refused) == ((), {})
    expected = np.load(GOLDEN / "decoded.npy")
    assert decoded.scene.cube.dtype == expected.dtype
    assert np.abs(decoded.scene.cube.astype(int) - expected).max() <= 1
    # Two engines fall on both sides of a half only where they are as far apart as rounding can bring them.
    assert np.mean(decoded.scene.cube != expected) <= 2 * gamma(ROUNDINGS, FLOAT32) * expected.max()


@pytest.mark.parametrize("name", ["joint", "adaptive"])
def test_the_golden_streams_of_golden_bundles_decode(name: str, tmp_path: Path) -> None:
    bundle = read_bundle(unpack_bundle(name, tmp_path / "bundle"))
    decoded = decoder_of(bundle).decode((GOLDEN / f"{name}.packets").read_bytes())
    assert (decoded.quality == Quality.EXACT).all()
    assert (decoded.damage, decoded.refused) == ((), {})
    expected = np.load(GOLDEN / f"{name}.npz")["cube"]
    assert decoded.scene.no_data == 0
    assert np.array_equal(decoded.scene.cube == 0, expected == 0)
    assert np.abs(decoded.scene.cube.astype(int) - expected).max() <= 1


def test_the_golden_packets_say_what_their_readme_says() -> None:
    stream, protected = ((GOLDEN / name).read_bytes() for name in ("scene.packets", "protected.packets"))
    segments = [item for item in parse_stream(stream) if isinstance(item, Segment)]
    assert {(s.scene, s.time) for s in segments} == {(0xC0FFEE, datetime(2026, 1, 1, 12, 34, 56, 789_000, tzinfo=UTC))}
    assert {int.from_bytes(stream[s.octet : s.octet + 2], "big") & 0x7FF for s in segments} == {42}
    assert any(s.count > 2 for s in segments)
    plain, opened = receive(stream).scene(), receive(protected, PacketOpener(KEY)).scene()
    assert plain.units == opened.units
    assert (plain.header.lines, plain.header.samples) == (opened.header.lines, opened.header.samples) == (70, 21)
