"""What goes wrong on board with an adaptive bundle: an engine that fails, memory that changed, files that did."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from coded_scenes import TILE, packets_of
from conftest import smooth_cube
from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.bundle_files import TABLE_FIRST
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.rate_control import DownlinkBudget
from hyvic_runtime.codec.row_encoder import CodedUnit
from hyvic_runtime.codec.scene_encoder import SceneEncoder, scene_stream
from hyvic_runtime.engines.engine import Engine
from hyvic_runtime.errors import BundleError, EngineError, LostTilesError
from hyvic_runtime.families.adaptive.bundle import read_adaptive_bundle
from hyvic_runtime.families.adaptive.context_network import OnnxContextNetwork
from hyvic_runtime.families.adaptive.contexts import Scale
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
from hyvic_runtime.families.adaptive.wavelet import Pyramid
from hyvic_runtime.kernels import KernelKind
from hyvic_runtime.packets.space_packet import Packetiser, UnitKind
from hyvic_runtime.packets.tile_prefix import TilePrefix
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.scene.tile_grid import Tile

BANDS = 6
SCENE = Scene(cube=smooth_cube(TILE + 8, 2 * TILE, BANDS))
"""Two rows of two tiles."""
Outputs = dict[str, np.ndarray]
Fault = tuple[str, int]
"""An output, and what stands in one element of it; None: the engine gives an error."""


class FaultyEngine:
    """Runs another engine, and does wrong on some tiles."""

    def __init__(self, engine: Engine, *, fails: Callable[[], bool], fault: Fault | None) -> None:
        self._engine, self._fails, self._fault = engine, fails, fault

    def run(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        outputs = dict(self._engine.run(inputs))
        if self._fails():
            if self._fault is None:
                raise EngineError("the device is gone")
            name, value = self._fault
            outputs[name] = outputs[name].copy()
            outputs[name].flat[-1] = value
        return outputs

    def describe(self) -> str:
        return "a faulty engine"


@pytest.fixture
def faulty(tiny_adaptive_bundle: Path) -> AdaptiveRowEncoder:
    # One worker, so that tiles reach the engine in their order.
    return AdaptiveRowEncoder(read_adaptive_bundle(tiny_adaptive_bundle), workers=1)


def _with_faults(encoder: AdaptiveRowEncoder, *tiles: int, fault: Fault | None = None) -> AdaptiveRowEncoder:
    """Let an encoder's engine fail on the tiles that come as these, the first being 0."""
    coded = encoder._code_tile
    begun: list[Tile] = []

    def counted(pyramid: Pyramid, scale: Scale, tile: Tile, lead: TilePrefix) -> list[CodedUnit]:
        begun.append(tile)
        return coded(pyramid, scale, tile, lead)

    engine = FaultyEngine(encoder._tiles.network, fails=lambda: len(begun) - 1 in tiles, fault=fault)
    encoder._tiles = replace(encoder._tiles, network=OnnxContextNetwork(engine))
    encoder._code_tile = counted  # type: ignore[method-assign]
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


def test_a_scene_whose_every_tile_fails_comes_back_exactly(
    faulty: AdaptiveRowEncoder, decoder: AdaptiveDecoder
) -> None:
    cube = SCENE.cube.copy()
    cube[3:9, 20:40] = 7777
    scene = Scene(cube=cube, no_data=7777)
    packets = packets_of(_with_faults(faulty, *range(4)), scene)
    for lost in (None, UnitKind.STRIP_BASIS):  # which such tiles do without
        decoded = decoder.decode(b"".join(packet for packet in packets if packet[14] != lost))
        assert np.array_equal(decoded.scene.cube, cube)
        assert (decoded.quality == Quality.EXACT).all()


def test_a_lost_lossless_unit_loses_its_tile_alone(faulty: AdaptiveRowEncoder, decoder: AdaptiveDecoder) -> None:
    packets = packets_of(_with_faults(faulty, 2), SCENE)
    without = b"".join(packet for packet in packets if packet[14] != UnitKind.TILE_EXACT)
    with pytest.raises(LostTilesError, match="1 of 4 tiles"):
        decoder.decode(without)
    quality = decoder.decode(without, conceal=True).quality
    assert (quality[TILE:, :TILE] == Quality.LOST).all()
    assert (quality[:TILE] == Quality.EXACT).all()


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


def test_a_scrub_of_sound_memory_changes_nothing(faulty: AdaptiveRowEncoder) -> None:
    tiles = faulty._tiles
    assert faulty.scrub()
    assert faulty._tiles is tiles
    assert (faulty.health.scrubs, faulty.health.repairs) == (1, 0)


def _altered_engine(encoder: AdaptiveRowEncoder) -> None:
    engine = FaultyEngine(encoder._tiles.network, fails=lambda: True, fault=("scale_index", 7))
    encoder._tiles = replace(encoder._tiles, network=OnnxContextNetwork(engine))


def _dead_engine(encoder: AdaptiveRowEncoder) -> None:
    engine = FaultyEngine(encoder._tiles.network, fails=lambda: True, fault=None)
    encoder._tiles = replace(encoder._tiles, network=OnnxContextNetwork(engine))


def _altered_weight(encoder: AdaptiveRowEncoder) -> None:
    network = encoder._tiles.network
    if network.kernels.kind is KernelKind.REFERENCE:
        pytest.skip("the package was installed without its C code")
    _, weights, _ = network._arrays  # type: ignore[attr-defined]
    weights[100] ^= 1 << 6


def _altered_tables(encoder: AdaptiveRowEncoder) -> None:
    encoder.bundle.tables.first[0] += 1


def _altered_frequencies(encoder: AdaptiveRowEncoder) -> None:
    encoder.bundle.tables.frequencies[:2] += np.array([1, -1], np.int64).astype(np.uint32)


@pytest.mark.parametrize(
    "fault", [_altered_engine, _dead_engine, _altered_weight, _altered_tables, _altered_frequencies]
)
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


def test_a_scrub_refuses_a_bundle_whose_files_were_altered(tiny_adaptive_bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_adaptive_bundle, tmp_path / "bundle")
    encoder = AdaptiveRowEncoder(read_adaptive_bundle(folder))
    octets = bytearray((folder / TABLE_FIRST).read_bytes())
    octets[-1] ^= 1
    (folder / TABLE_FIRST).write_bytes(octets)
    with pytest.raises(BundleError, match="was altered"):
        encoder.scrub()


def test_a_health_report_names_what_codes_and_how_long_it_took(faulty: AdaptiveRowEncoder) -> None:
    scene_stream(faulty, SCENE)
    report = faulty.health_report()
    assert report["bundle"] == faulty.bundle.identity.hex()
    assert report["engine"] == faulty.engine_name
    assert (report["tiles"], report["queue"], report["fallback_count"]) == (4, 0, 0)
    assert report["stages"]["engine_s"] > 0
    assert report["stages"]["tile_input_s"] > 0
