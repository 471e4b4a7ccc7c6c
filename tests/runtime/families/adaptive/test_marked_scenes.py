"""No-data and saturated samples with an adaptive bundle: exact, and nothing that its statistics are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from coded_scenes import packets_of
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import psnr
from scenes import TILE, smooth_cube

BANDS = 6
NO_DATA, SATURATED = 65535, 4095


def _rotated(lines: int = 40, samples: int = 70) -> tuple[Scene, np.ndarray]:
    """A scene as a map projection leaves it: a slanted swath in a rectangle; and where it has data."""
    y, x = np.mgrid[:lines, :samples]
    valid = (x + 0.3 * y > 20) & (x + 0.3 * y < 72)
    cube = smooth_cube(lines, samples, BANDS)
    cube[~valid] = NO_DATA
    return Scene(cube=cube, no_data=NO_DATA), valid


def _decoded(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, scene: Scene, saturated: int | None = None
) -> np.ndarray:
    decoded = decoder.decode(b"".join(packets_of(encoder, scene, saturated=saturated, quality=70)))
    assert (decoded.quality == Quality.EXACT).all()
    return decoded.scene.cube


def test_no_data_comes_back_exactly_and_nothing_else_does(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder
) -> None:
    scene, valid = _rotated()
    decoded = _decoded(encoder, decoder, scene)
    assert np.array_equal(decoded == NO_DATA, scene.cube == NO_DATA)
    assert np.abs(scene.cube[valid].astype(int) - decoded[valid]).max() <= 16  # two steps


def test_no_data_takes_no_part_in_the_basis(encoder: AdaptiveRowEncoder) -> None:
    """The basis of a strip does not change with what stands where there is no data."""
    scene, valid = _rotated(TILE)
    other = np.where(valid[..., None], scene.cube, np.uint16(0))
    assert valid.any(axis=1).all()  # statistics then see the same pixels

    def bases(scene: Scene) -> list[bytes]:
        packets = packets_of(encoder, scene, scene_id=1)
        return [packet[14:-2] for packet in packets if packet[14] == UnitKind.STRIP_BASIS]

    assert bases(scene) == bases(Scene(cube=other, no_data=0))
    assert bases(scene) != bases(replace(scene, no_data=None))
    assert len(bases(scene)) == 1


def test_a_sliver_of_data_in_a_large_strip_has_its_basis(bundle: AdaptiveBundle) -> None:
    """Statistics of a large strip are made of some of its columns."""
    cube = np.zeros((64, 4096, 3), np.uint16)
    cube[:, 3001] = smooth_cube(64, 1, 3)[:, 0]
    large = replace(bundle, manifest=replace(bundle.manifest, tile=64))
    stream = scene_stream(AdaptiveRowEncoder(large), Scene(cube=cube, no_data=0), quality=80)
    decoded = AdaptiveDecoder(large).decode(stream).scene.cube
    assert np.abs(cube.astype(int) - decoded).max() <= 32


def test_no_data_takes_few_octets(encoder: AdaptiveRowEncoder) -> None:
    scene, _ = _rotated()
    whole = Scene(cube=smooth_cube(40, 70, BANDS))
    octets = [sum(map(len, packets_of(encoder, s))) for s in (scene, whole, replace(scene, no_data=None))]
    assert octets[0] < 2 * octets[1]  # marks of four tiles, and what a network of random weights makes of their edges
    assert octets[0] < 0.7 * octets[2]


def test_a_dead_band_does_not_take_the_others_along(encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder) -> None:
    cube = smooth_cube(40, 40, BANDS)
    cube[..., 2] = NO_DATA
    decoded = _decoded(encoder, decoder, Scene(cube=cube, no_data=NO_DATA))
    alive = [band for band in range(BANDS) if band != 2]
    assert (decoded[..., 2] == NO_DATA).all()
    assert psnr(cube[..., alive], decoded[..., alive], 10_000) > 65


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_strip_without_data_leaves_the_others_as_they_are(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, row: int
) -> None:
    cube = smooth_cube(3 * TILE - 5, 20, BANDS)
    sound = _decoded(encoder, decoder, Scene(cube=cube))
    empty = slice(row * TILE, (row + 1) * TILE)
    cube[empty] = NO_DATA
    decoded = _decoded(encoder, decoder, Scene(cube=cube, no_data=NO_DATA))
    sound[empty] = NO_DATA
    assert np.array_equal(decoded, sound)
