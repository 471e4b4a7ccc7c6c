"""Lines as a sensor delivers them, against the same scene encoded at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from coded_scenes import pushed
from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import SceneEncoder, scene_packets
from hyvic_runtime.codec.strip import MarkedLines
from hyvic_runtime.errors import EngineError, SceneError
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.space_packet import Packetiser, UnitKind
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.scene.tile_grid import TileGeometry
from scenes import BANDS, ROOT, smooth_cube

TILE = 32


def _at_once(encoder: LatentRowEncoder, cube: np.ndarray) -> bytes:
    return b"".join(p for packets in scene_packets(encoder, Scene(cube=cube), Packetiser()) for p in packets)


@pytest.mark.parametrize("given_mean", [False, True])
def test_a_bundle_that_subtracts_no_mean_gets_none(encoder: LatentRowEncoder, given_mean: bool) -> None:
    """Neither one that the sensor knows nor one that samples without data would fade into."""
    bundle = encoder.bundle
    plain = LatentRowEncoder(replace(bundle, manifest=replace(bundle.manifest, mean_spectrum=False)))
    cube = smooth_cube(TILE, TILE, BANDS)
    cube[3:9, 4:11] = 0
    mean = cube[20, 20] if given_mean else None
    acquisition = Acquisition(samples=TILE, dtype=cube.dtype, lines=TILE, mean_spectrum=mean, no_data=0)
    push_broom = SceneEncoder(plain, acquisition, Packetiser())
    live = push_broom.push(cube) + push_broom.flush()
    at_once = scene_packets(plain, Scene(cube=cube, no_data=0), Packetiser())
    assert live == [packet for packets in at_once for packet in packets]


def test_the_mean_of_the_first_row_of_tiles_stands_in_for_the_scenes(encoder: LatentRowEncoder) -> None:
    cube = smooth_cube(2 * TILE, 40, BANDS)
    header = pushed(encoder, cube)[0]
    mean = np.frombuffer(header[46 : 46 + 2 * BANDS], ">u2")
    assert np.array_equal(mean, np.rint(cube[:TILE].mean(axis=(0, 1))))


@pytest.mark.parametrize("failing", [False, True])
def test_what_is_called_exact_without_the_scenes_end_is(failing: bool) -> None:
    """ANS gives symbols without end, so a tile that was cut must not be taken for a whole one."""
    bundle = read_bundle(ROOT / "tests" / "golden" / "stream" / "bundle")
    encoder, decoder = LatentRowEncoder(bundle, workers=1), LatentDecoder(bundle, workers=2)
    if failing:
        encoder._engine = NoEngine()
    tile, stride = bundle.manifest.geometry.tile, bundle.manifest.geometry.latent_stride
    for lines in range(1, 2 * tile + 1):
        packets = pushed(encoder, smooth_cube(lines, 20, bundle.manifest.bands, seed=lines))
        whole = decoder.decode(b"".join(packets)).scene.cube
        lost = b"".join(packet for packet in packets if packet[14] != UnitKind.SCENE_END)
        decoded = decoder.decode(lost, conceal=True)
        assert len(decoded.quality) == (lines if failing else -(-lines // stride) * stride)
        exact = decoded.quality[:lines] == Quality.EXACT
        assert exact.any() or lines < 2 * stride
        assert np.array_equal(decoded.scene.cube[:lines][exact], whole[exact])
        assert (decoded.quality[lines:] != Quality.EXACT).all()


class NoEngine:
    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise EngineError("the device is gone")

    def describe(self) -> str:
        return "none"


def test_lines_that_may_lie_behind_a_lost_end_are_not_called_exact(
    encoder: LatentRowEncoder, decoder: LatentDecoder
) -> None:
    stride = encoder.bundle.manifest.geometry.latent_stride
    packets = pushed(encoder, smooth_cube(TILE - 1, 40, BANDS))
    lost = b"".join(packet for packet in packets if packet[14] != UnitKind.SCENE_END)
    quality = decoder.decode(lost, conceal=True).quality
    assert quality.shape == (TILE, 40)
    assert (quality[: 1 - stride] == Quality.EXACT).all()
    assert (quality[1 - stride :] == Quality.MEANS).all()
    assert (decoder.decode(b"".join(packets), conceal=True).quality == Quality.EXACT).all()


def test_packets_of_a_row_come_before_the_next_row_is_whole(encoder: LatentRowEncoder) -> None:
    """Latency is bounded: a few tiles stay under way, not a strip."""
    cube = smooth_cube(2 * TILE, 8 * TILE, BANDS)
    push_broom = SceneEncoder(encoder, Acquisition(samples=8 * TILE, dtype=cube.dtype), Packetiser())
    assert push_broom.push(cube[: TILE - 1]) == []
    packets = push_broom.push(cube[TILE - 1])
    under_way = encoder.workers + 1
    assert [packet[14] for packet in packets] == [UnitKind.SCENE_HEADER, *[UnitKind.TILE_BASE] * (8 - under_way)]
    packets = push_broom.push(cube[TILE:])
    row = [*[UnitKind.TILE_BASE] * under_way, *[UnitKind.TILE_REFINEMENT] * 8]
    assert [packet[14] for packet in packets] == [*row, *[UnitKind.TILE_BASE] * (8 - under_way)]
    push_broom.flush()


def test_lines_that_do_not_fit_are_refused(encoder: LatentRowEncoder) -> None:
    uint8 = Acquisition(samples=40, dtype=np.dtype(np.uint8), lines=3)
    push_broom = SceneEncoder(encoder, uint8, Packetiser())
    with pytest.raises(SceneError, match=f"lines of {BANDS} samples and 40 bands came .* interleave bip"):
        push_broom.push(np.zeros((2, BANDS, 40), np.uint8))
    with pytest.raises(SceneError, match=r"from 0 to 256; uint8 holds 0\.\.255"):
        push_broom.push(np.arange(257).repeat(40 * BANDS).reshape(257, 40, BANDS)[::256])
    with pytest.raises(SceneError, match="the lines hold float32; digital numbers are integers"):
        push_broom.push(np.zeros((1, 40, BANDS), np.float32))
    with pytest.raises(SceneError, match="4 lines came for a scene of at most 3"):
        push_broom.push(np.zeros((4, 40, BANDS), np.uint8))
    with pytest.raises(SceneError, match="the scene ends after 0 of 3 lines"):
        push_broom.flush()
    push_broom.push(np.zeros((3, 40, BANDS), np.uint8))
    push_broom.flush()
    with pytest.raises(ValueError, match="the scene has ended"):
        push_broom.push(np.zeros((1, 40, BANDS), np.uint8))


def test_what_cannot_be_a_scene_is_refused_before_its_first_line(encoder: LatentRowEncoder) -> None:
    with pytest.raises(SceneError, match="the scene holds float32"):
        Acquisition(samples=4, dtype=np.dtype(np.float32))
    with pytest.raises(SceneError, match="the scene has 0 samples; at least 1 is needed"):
        Acquisition(samples=0, dtype=np.dtype(np.uint8))
    for bad in (-1, 2**32):
        with pytest.raises(SceneError, match=rf"scene id {bad} is outside 0\.\.4294967295"):
            Acquisition(samples=4, dtype=np.dtype(np.uint8), scene_id=bad)
    with pytest.raises(SceneError, match="the scene has 16777217 lines; a scene header holds at most 16777216"):
        Acquisition(samples=4, dtype=np.dtype(np.uint8), lines=2**24 + 1)
    for nm in (0.0, -5.0, np.nan, np.inf):
        with pytest.raises(SceneError, match=f"a wavelength is {nm:g} nm"):
            Acquisition(samples=4, dtype=np.dtype(np.uint8), wavelengths=np.array([400.0, nm]))
    long = Acquisition(samples=4, dtype=np.dtype(np.uint8), lines=2**16 * TILE + 1)
    with pytest.raises(SceneError, match="a scene of 2097153 lines has more than 65536 rows of tiles"):
        SceneEncoder(encoder, long, Packetiser())
    wrong = Acquisition(samples=4, dtype=np.dtype(np.uint8), mean_spectrum=np.zeros(3, np.uint8))
    with pytest.raises(SceneError, match=rf"a mean spectrum of \(3,\) uint8; \({BANDS},\) uint8 is needed"):
        SceneEncoder(encoder, wrong, Packetiser())


@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 2), (4, 6)])
def test_a_strip_keeps_its_lines_while_the_next_ones_arrive(before: int, after: int) -> None:
    geometry = TileGeometry(
        tile=4,
        latent_stride=2,
        hyper_stride=4,
        halo_before=before,
        halo_after=after,
        latent_halo_before=1,
        latent_halo_after=1,
    )
    acquisition = Acquisition(samples=1, dtype=np.dtype(np.uint16))
    held = MarkedLines(acquisition, 1, geometry, lines_before=(4 + after) * (before > 0))
    lines = np.arange(100, 130, dtype=np.uint16).reshape(-1, 1, 1)
    mean = np.zeros(1, np.uint16)
    strips = []
    for line in lines:
        held.append(line[None])
        if held.room == 0:
            strips.append(held.strip(mean))
            held.next_row()
    while held.row * 4 < held.count:
        strips.append(held.strip(mean))
        held.next_row()

    assert [strip.row for strip in strips] == list(range(8))
    for strip in strips:
        assert np.array_equal(strip.cube, lines[4 * strip.row : 4 * strip.row + 4])
        read = sorted(set(strip.grid.window_lines(strip.row))) if before else range(4 * strip.row, strip.grid.lines)
        for number in read:
            assert np.array_equal(strip.held[int(number) : int(number) + 1], lines[number][None])
        first, until = strip.held.first, strip.held.first + len(strip.held.cube)
        for outside in (first - 1, until):
            with pytest.raises(IndexError, match=f"{first} to {until - 1} are held"):
                strip.held[outside : outside + 1]
