"""What goes wrong on board with an adaptive bundle: an engine that fails, memory that changed, files that did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from faulty_engines import Fault, adaptive_with_faults, adaptive_with_network
from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.row_encoder import CodedUnit
from hyvic_runtime.codec.scene_encoder import SceneEncoder, scene_stream
from hyvic_runtime.downlink.rate_control import DownlinkBudget
from hyvic_runtime.families.adaptive.bundle import read_adaptive_bundle
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
from hyvic_runtime.kernels import KernelKind
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.scene import Scene
from scenes import TILE, smooth_cube

BANDS = 6
SCENE = Scene(cube=smooth_cube(TILE + 8, 2 * TILE, BANDS))
"""Two rows of two tiles."""
"""An output, and what stands in one element of it; None: the engine gives an error."""


@pytest.fixture
def faulty(tiny_adaptive_bundle: Path) -> AdaptiveRowEncoder:
    # One worker, so that tiles reach the engine in their order.
    return AdaptiveRowEncoder(read_adaptive_bundle(tiny_adaptive_bundle), workers=1)


def _with_faults(encoder: AdaptiveRowEncoder, *tiles: int, fault: Fault | None = None) -> AdaptiveRowEncoder:
    adaptive_with_faults(encoder, set(tiles), fault)
    return encoder


@pytest.mark.parametrize("tile", range(4))
def test_a_tile_that_the_engine_fails_on_comes_back_exactly_and_its_row_with_it(
    faulty: AdaptiveRowEncoder, decoder: AdaptiveDecoder, tile: int
) -> None:
    """The row's basis goes out even with its first tile, which it usually accompanies."""
    sound = decoder.decode(scene_stream(faulty, SCENE)).scene.cube
    stream = scene_stream(_with_faults(faulty, tile), SCENE)
    decoded = decoder.decode(stream)
    row, column = divmod(tile, 2)
    area = (slice(row * TILE, (row + 1) * TILE), slice(column * TILE, (column + 1) * TILE))
    assert np.array_equal(decoded.scene.cube[area], SCENE.cube[area])
    assert (decoded.quality[area] == Quality.EXACT).all()
    other = slice((1 - row) * TILE, (2 - row) * TILE)
    assert (decoded.quality[other] == Quality.EXACT).all()
    assert np.array_equal(decoded.scene.cube[other], sound[other])
    beside = (area[0], slice((1 - column) * TILE, (2 - column) * TILE))
    assert (decoded.quality[beside] == Quality.AFFECTED).all()
    assert np.abs(decoded.scene.cube[beside].astype(int) - sound[beside]).mean() < 400  # it is there, but for the edge
    (fallback,) = faulty.health.fallbacks
    assert (fallback.row, fallback.column, fallback.reason) == (row, column, "the device is gone")


def test_a_tile_that_fails_late_still_has_its_lines(faulty: AdaptiveRowEncoder, decoder: AdaptiveDecoder) -> None:
    next_row_came = Event()
    coded = _with_faults(faulty, 0, 1)._code_tile

    def late(*arguments: Any) -> list[CodedUnit]:
        assert next_row_came.wait(60)
        return coded(*arguments)

    faulty._code_tile = late  # type: ignore[method-assign]
    lines, samples, bands = SCENE.cube.shape
    acquisition = Acquisition(samples=samples, bands=bands, dtype=SCENE.cube.dtype, lines=lines)
    push_broom = SceneEncoder(faulty, acquisition, Packetiser())
    packets = push_broom.push(SCENE.cube)
    next_row_came.set()
    packets += push_broom.flush()
    assert len(faulty.health.fallbacks) == 2
    assert np.array_equal(decoder.decode(b"".join(packets)).scene.cube[:TILE], SCENE.cube[:TILE])


@pytest.mark.parametrize(
    "fault",
    [
        ("scale_index", 64),
        ("scale_index", 10_000),
        ("scale_index", -1),
        ("mean_steps", 1024),
        ("mean_steps", -(2**31)),  # what a NaN becomes
        ("gain", 17),
        ("gain", -1),
    ],
)
def test_what_no_sound_engine_gives_makes_a_tile_lossless(
    faulty: AdaptiveRowEncoder, decoder: AdaptiveDecoder, fault: Fault
) -> None:
    scene = Scene(cube=SCENE.cube[:TILE])
    decoded = decoder.decode(scene_stream(_with_faults(faulty, 1, fault=fault), scene))
    assert np.array_equal(decoded.scene.cube[:, TILE:], scene.cube[:, TILE:])
    (fallback,) = faulty.health.fallbacks
    assert (fallback.row, fallback.column) == (0, 1)


def test_a_downlink_too_small_for_such_a_tile_goes_without_it(
    faulty: AdaptiveRowEncoder, decoder: AdaptiveDecoder
) -> None:
    cube = SCENE.cube[:TILE].copy()
    cube[4::8, 4::8] = 60_000  # details at every quality, so that no attempt does without the engine
    kept = 1.2 * len(
        scene_stream(faulty, Scene(cube=cube), quality=0)
    )  # room for a row, and not for a tile coded exactly
    assert kept < len(faulty._exact.encode(cube[:, :TILE]))

    tiles = {2 * attempt for attempt in range(100)}  # the first of every attempt at the row
    acquisition = Acquisition(samples=cube.shape[1], bands=BANDS, dtype=cube.dtype, lines=TILE)
    budget = DownlinkBudget(octets_per_line=kept / TILE, window_lines=TILE)
    push_broom = SceneEncoder(_with_faults(faulty, *tiles), acquisition, Packetiser(), downlink=budget)
    packets = [*push_broom.push(cube), *push_broom.flush()]

    assert sum(map(len, packets)) <= kept
    quality = decoder.decode(b"".join(packets), conceal=True).quality
    assert (quality[:, :TILE] == Quality.LOST).all()
    assert (quality[:, TILE:] == Quality.AFFECTED).all()


def _altered_engine(encoder: AdaptiveRowEncoder) -> None:
    adaptive_with_network(encoder, fails=lambda: True, fault=("scale_index", 7))


def _altered_weight(encoder: AdaptiveRowEncoder) -> None:
    network = encoder._tiles.network
    if network.kernels.kind is KernelKind.REFERENCE:
        pytest.skip("the package was installed without its C code")
    _, weights, _ = network._arrays  # type: ignore[attr-defined]
    weights[100] ^= 1 << 6


@pytest.mark.parametrize("fault", [_altered_engine, _altered_weight])
def test_a_scrub_loads_anew_what_changed_in_memory(
    faulty: AdaptiveRowEncoder, fault: Callable[[AdaptiveRowEncoder], None]
) -> None:
    scene = Scene(cube=SCENE.cube[:20, :20])
    sound = scene_stream(faulty, scene)
    fault(faulty)
    assert not faulty.scrub()
    assert scene_stream(faulty, scene) == sound
    assert faulty.scrub()
    assert (faulty.health.scrubs, faulty.health.repairs) == (2, 1)
