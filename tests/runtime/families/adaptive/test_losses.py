"""Streams of adaptive bundles that lost packets, their end or their sense."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from coded_scenes import packets_of, segment_of, without
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.errors import DecodeError, LostTilesError
from hyvic_runtime.families.adaptive.basis_coder import BasisCoder
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
from hyvic_runtime.families.adaptive.kernels import kernels_of
from hyvic_runtime.families.adaptive.strip_basis import SpectralBasis
from hyvic_runtime.packets.reassembly import UnitKey, receive
from hyvic_runtime.packets.space_packet import Packetiser, Unit, UnitKind
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import mean_squared_error
from scenes import TILE, smooth_cube

BANDS = 2
SHAPE = (TILE + 9, 11 * TILE - 5, BANDS)
"""Two rows of eleven tiles, so that some are out of the reach of a lost one."""


@pytest.fixture(scope="module")
def cube() -> np.ndarray:
    return smooth_cube(*SHAPE)


@pytest.fixture(scope="module")
def packets(encoder: AdaptiveRowEncoder, cube: np.ndarray) -> list[bytes]:
    return packets_of(encoder, cube, quality=65)


@pytest.fixture(scope="module")
def whole(decoder: AdaptiveDecoder, packets: list[bytes]) -> np.ndarray:
    return decoder.decode(b"".join(packets)).scene.cube


@pytest.mark.parametrize("kind", [UnitKind.TILE_BASE, UnitKind.TILE_REFINEMENT])
def test_a_lost_unit_leaves_the_other_row_and_what_is_out_of_its_reach(
    decoder: AdaptiveDecoder, packets: list[bytes], whole: np.ndarray, kind: UnitKind
) -> None:
    stream = without(packets, lambda s: (s.kind, s.row, s.column) == (kind, 0, 5))
    reason = "its first unit" if kind == UnitKind.TILE_BASE else r"part \d+ of the details"
    with pytest.raises(LostTilesError, match=rf"1 of 22 tiles .*tile 0, 5: {reason} did not arrive whole"):
        decoder.decode(stream)
    decoded = decoder.decode(stream, conceal=True)
    expected = np.full(whole.shape[:2], Quality.EXACT)
    expected[:TILE, 2 * TILE : 9 * TILE] = Quality.AFFECTED  # three approximation coefficients on either side
    expected[:TILE, 5 * TILE : 6 * TILE] = Quality.LOST if kind == UnitKind.TILE_BASE else Quality.MEANS
    assert np.array_equal(decoded.quality, expected)
    exact = expected == Quality.EXACT
    assert np.array_equal(decoded.scene.cube[exact], whole[exact])
    assert (decoded.scene.cube[expected == Quality.LOST] == 0).all()


def test_a_lost_basis_takes_its_row_and_no_other(
    decoder: AdaptiveDecoder, packets: list[bytes], whole: np.ndarray
) -> None:
    stream = without(packets, lambda s: (s.kind, s.row) == (UnitKind.STRIP_BASIS, 1))
    with pytest.raises(LostTilesError, match=r"11 of 22 tiles .*tile 1, 0: the basis of its row did not arrive whole"):
        decoder.decode(stream)
    decoded = decoder.decode(stream, conceal=True)
    assert (decoded.quality[:TILE] == Quality.EXACT).all()
    assert (decoded.quality[TILE:] == Quality.LOST).all()
    assert np.array_equal(decoded.scene.cube[:TILE], whole[:TILE])
    assert not decoded.scene.cube[TILE:].any()


def test_without_any_basis_nothing_is_made_up(decoder: AdaptiveDecoder, packets: list[bytes]) -> None:
    stream = without(packets, lambda s: s.kind == UnitKind.STRIP_BASIS)
    for conceal in (False, True):
        with pytest.raises(DecodeError, match="2 bands and no basis or lossless tile of so many arrived whole"):
            decoder.decode(stream, conceal=conceal)
    # One of a row that the scene does not have is none either.
    stray = Unit(kind=UnitKind.STRIP_BASIS, scene=segment_of(packets[0]).scene, row=9, column=0, octets=bytes(40))
    stream += b"".join(Packetiser().packets(stray))
    with pytest.raises(DecodeError, match="nothing of the scene can be reconstructed: the basis of its row did not"):
        decoder.decode(stream, conceal=True)


@pytest.mark.parametrize("seed", range(3))
def test_random_losses_leave_what_is_called_exact_as_it_was(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, seed: int
) -> None:
    cube = smooth_cube(3 * TILE, 3 * TILE, 2, seed=seed)
    packets = packets_of(encoder, cube, packet_octets=120, quality=60)
    whole = decoder.decode(b"".join(packets)).scene.cube
    rng = np.random.default_rng(seed)
    lost = {int(n) for n in rng.choice(np.arange(1, len(packets)), len(packets) // 40, replace=False)}
    missed = {(s.row, s.column) for n in lost if (s := segment_of(packets[n])).kind != UnitKind.STRIP_BASIS}
    rows = {s.row for n in lost if (s := segment_of(packets[n])).kind == UnitKind.STRIP_BASIS}
    decoded = decoder.decode(b"".join(p for n, p in enumerate(packets) if n not in lost), conceal=True)
    exact = decoded.quality == Quality.EXACT
    assert np.array_equal(decoded.scene.cube[exact], whole[exact])
    for row in range(3):
        for column in range(3):
            area = decoded.quality[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            if row in rows or (row, column) in missed:
                assert (area <= Quality.MEANS).all()
            else:
                assert (area >= Quality.AFFECTED).all()


def test_fidelity_never_falls_with_more_parts(encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder) -> None:
    cube = smooth_cube(TILE, TILE + 20, 16, seed=5)
    packets = packets_of(encoder, cube, quality=100, progressive=True)
    parts = sorted({s.part for p in packets if (s := segment_of(p)).kind == UnitKind.TILE_REFINEMENT})
    assert len(parts) > 3
    errors = []
    for limit in (*parts, 10**6):
        kept = [p for p in packets if (s := segment_of(p)).kind != UnitKind.TILE_REFINEMENT or s.part < limit]
        errors.append(mean_squared_error(cube, decoder.decode(b"".join(kept), conceal=True).scene.cube))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 10
    assert {packet[14:-2] for packet in packets} == {packet[14:-2] for packet in packets_of(encoder, cube, quality=100)}


def test_a_row_of_another_height_than_the_header_says_is_told(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder
) -> None:
    received = decoder.receive(b"".join(packets_of(encoder, smooth_cube(TILE + 9, 20, 3), scene_id=1)))
    scene = received.scenes[1]
    longer = replace(received, scenes={1: replace(scene, header=replace(scene.header, lines=TILE + 10))})
    with pytest.raises(LostTilesError, match="the basis of its row is of 9 lines and the scene has 10 there"):
        decoder.reconstruct(longer)
    quality = decoder.reconstruct(longer, conceal=True).quality
    assert (quality[:TILE] == Quality.EXACT).all()
    assert (quality[TILE:] == Quality.LOST).all()


@pytest.mark.parametrize("conceal", [False, True])
@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"lines": 2**24, "samples": 2**24}, r"524288 × 524288 tiles; none has so many"),
        ({"lines": 2**21, "samples": 2**21}, r"announces 4294967296 tiles|of 4294967296 tiles cannot"),
        ({"bands": 65535}, r"65535 bands and no basis or lossless tile of so many arrived whole"),
        ({"lines": 2**21, "samples": 2**21, "bands": 65535}, r"65535 bands|4294967296 tiles"),
    ],
)
def test_a_hostile_header_is_refused_before_memory_is_taken(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, size: dict[str, int], message: str, conceal: bool
) -> None:
    received = decoder.receive(b"".join(packets_of(encoder, smooth_cube(9, 20, 3), scene_id=1)))
    scene = received.scenes[1]
    hostile = replace(received, scenes={1: replace(scene, header=replace(scene.header, **size))})
    tracemalloc.start()
    begun = time.perf_counter()
    try:
        with pytest.raises(DecodeError, match=message):
            decoder.reconstruct(hostile, conceal=conceal)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - begun < 10


def test_a_scene_that_no_memory_holds_is_refused(
    bundle: AdaptiveBundle, encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder
) -> None:
    """All in it is as it should be: a kilobyte of basis may stand for 65,535 bands that are alike."""
    received = decoder.receive(b"".join(packets_of(encoder, np.zeros((9, 9, 3), np.uint16), scene_id=1)))
    scene = received.scenes[1]
    bands, tile = 65535, 4096
    basis = SpectralBasis(
        pixels=1, mean=np.zeros(bands), vectors=np.zeros((0, bands)), deviations=np.zeros(0)
    ).quantised(0, 1.0)
    unit = BasisCoder(coder=bundle.entropy_coder()).pack(basis, tile)
    assert len(unit) < 2048
    hostile = replace(
        scene,
        header=replace(scene.header, lines=tile, samples=32 * tile, bands=bands),
        units={**scene.units, UnitKey(UnitKind.STRIP_BASIS, 0, 0): unit},
    )
    larger = AdaptiveDecoder(replace(bundle, manifest=replace(bundle.manifest, tile=tile)))
    with pytest.raises(DecodeError, match="4096 × 131072 × 65535 samples, and there is no memory for them"):
        larger.reconstruct(replace(received, scenes={1: hostile}), conceal=True)


@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_garbled_units_whose_packets_are_sound_are_refused_or_give_a_scene(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, data: st.DataObject
) -> None:
    """As a forger, or a fault on board, makes them: nothing but a DecodeError comes of it."""
    received = receive(b"".join(packets_of(encoder, smooth_cube(9, 40, 3), scene_id=1, quality=70)))
    units = dict(received.scenes[1].units)
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(units)))
        octets = bytearray(units[key])
        start = data.draw(st.integers(0, len(octets) - 1))
        octets[start : start + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
        units[key] = bytes(octets) or b"\0"
    header = replace(received.scenes[1].header, bands=data.draw(st.sampled_from([3, 3, 1, 40])))
    scene = replace(received.scenes[1], units=units, header=header)
    begun = time.perf_counter()
    try:
        decoded = decoder.reconstruct(replace(received, scenes={1: scene}), conceal=data.draw(st.booleans()))
    except DecodeError:
        return
    finally:
        assert time.perf_counter() - begun < 20
    assert decoded.scene.cube.shape == (9, 40, header.bands)


def test_units_of_tiles_that_the_scene_does_not_have_are_passed_over(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder
) -> None:
    stream = scene_stream(encoder, Scene(cube=smooth_cube(9, 20, 3)))
    scene = receive(stream).scene()
    units = {**scene.units, UnitKey(UnitKind.TILE_BASE, 5, 5): b"\0\0", UnitKey(UnitKind.STRIP_BASIS, 0, 3): b"\0"}
    stream_of = decoder.receive(stream)
    more = replace(stream_of, scenes={scene.scene_id: replace(scene, units=units)})
    assert np.array_equal(decoder.reconstruct(more).scene.cube, decoder.decode(stream).scene.cube)


def test_pixels_read_as_far_as_the_geometry_says(bundle: AdaptiveBundle) -> None:
    """Those farther off than that from a lost tile are called exact, and nearer ones are not."""
    geometry = bundle.manifest.geometry
    cells, lost = 12, 6
    shape = (1, cells * geometry.latent_stride)
    kernels = kernels_of()
    pyramid = kernels.analyse(np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32))
    whole = kernels.synthesise(pyramid, shape)
    for planes in (pyramid.approximation, *pyramid.details):
        of_cell = planes.shape[-1] // cells
        planes[..., lost * of_cell : (lost + 1) * of_cell] = 0
    changed = np.flatnonzero(kernels.synthesise(pyramid, shape) != whole) // geometry.latent_stride
    assert lost - changed.min() == geometry.latent_halo_after
    assert changed.max() - lost == geometry.latent_halo_before
