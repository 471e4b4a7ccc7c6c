"""What goes wrong on board: an engine that fails on a tile, memory that changed, files that did."""

from __future__ import annotations

import json
import operator
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_engines import LEAST, Fault, FaultyEngine, latent_with_faults
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from hyvic_runtime.cli import decode_packets, encode_scene
from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.health import MAX_FALLBACKS, reported
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_decoder import DecodedScene
from hyvic_runtime.codec.scene_encoder import SceneEncoder, scene_stream
from hyvic_runtime.downlink.rate_control import DownlinkBudget
from hyvic_runtime.engines.engine import Engine
from hyvic_runtime.errors import BundleError, DecodeError
from hyvic_runtime.families.latent.bundle import ENCODER, LatentBundle
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.scene import Scene
from scenes import BANDS, smooth_cube

TILE = 32
LINES, SAMPLES = 80, 96
FAILING = (1, 1)
"""Row and column of the tile in the middle of 3 × 3; the last row is cut."""
"""An output, and what stands in all of it; None: the engine gives an error."""
SCALES = 64
"""What a NaN becomes."""


@pytest.fixture
def encoder(tiny_bundle: Path) -> LatentRowEncoder:
    # One worker, so that tiles reach the engine in their order.
    return LatentRowEncoder(read_bundle(tiny_bundle), workers=1)


def _with_faults(encoder: LatentRowEncoder, *calls: int, fault: Fault | None = None) -> LatentRowEncoder:
    latent_with_faults(encoder, set(calls), fault)
    return encoder


def _decoded(encoder: LatentRowEncoder, decoder: LatentDecoder, scene: Scene) -> DecodedScene:
    return decoder.decode(scene_stream(encoder, scene))


@pytest.mark.parametrize(
    "fault",
    [
        None,
        ("scale_index", 10_000),
        ("scale_index", SCALES),
        ("scale_index", -1),
        ("symbols", 2**15),
        ("symbols", LEAST),
        ("hyperlatent", 2**15 - 1),
        ("hyperlatent", LEAST),
    ],
)
def test_a_tile_that_the_engine_fails_on_comes_back_exactly_and_the_others_as_ever(
    encoder: LatentRowEncoder, decoder: LatentDecoder, fault: Fault | None
) -> None:
    scene = Scene(cube=smooth_cube(LINES, SAMPLES, BANDS))
    sound = _decoded(encoder, decoder, scene)

    decoded = _decoded(_with_faults(encoder, 4, fault=fault), decoder, scene)

    failed = np.zeros((LINES, SAMPLES), bool)
    failed[TILE : 2 * TILE, TILE : 2 * TILE] = True
    assert np.array_equal(decoded.scene.cube[failed], scene.cube[failed])
    assert (decoded.quality[failed] == Quality.EXACT).all()
    exact = (decoded.quality == Quality.EXACT) & ~failed
    assert np.array_equal(decoded.scene.cube[exact], sound.scene.cube[exact])
    beside = decoded.quality == Quality.AFFECTED
    assert beside.any()
    assert exact.sum() + beside.sum() + failed.sum() == failed.size
    geometry = encoder.bundle.manifest.geometry
    reach = max(geometry.latent_halo_before, geometry.latent_halo_after) * geometry.latent_stride
    assert not beside[: TILE - reach].any()
    assert not beside[:, 2 * TILE + reach :].any()
    (fallback,) = encoder.health.fallbacks
    assert (fallback.row, fallback.column) == FAILING
    assert ("device is gone" in fallback.reason) == (fault is None)
    assert (encoder.health.tiles, encoder.health.fallback_count) == (18, 1)


def test_a_downlink_too_small_for_such_a_tile_goes_without_it(
    encoder: LatentRowEncoder, decoder: LatentDecoder
) -> None:
    cube = smooth_cube(LINES, SAMPLES, BANDS)
    stream = scene_stream(encoder, Scene(cube=cube), quality=100)
    octets_per_line = len(stream) / LINES * 1.5
    _with_faults(encoder, *range(200))  # every attempt at every tile

    acquisition = Acquisition(samples=SAMPLES, dtype=cube.dtype, lines=LINES)
    budget = DownlinkBudget(octets_per_line=octets_per_line, window_lines=TILE)
    push_broom = SceneEncoder(encoder, acquisition, Packetiser(), downlink=budget)
    packets = [*push_broom.push(cube), *push_broom.flush()]

    assert sum(map(len, packets)) <= octets_per_line * LINES
    decoded = decoder.decode(b"".join(packets), conceal=True)
    exact = decoded.quality == Quality.EXACT
    assert np.array_equal(decoded.scene.cube[exact], cube[exact])


def test_a_tile_too_large_for_a_downlink_leaves_its_neighbours_their_latents(
    encoder: LatentRowEncoder, decoder: LatentDecoder
) -> None:
    cube = smooth_cube(TILE, SAMPLES, BANDS)
    stream = scene_stream(encoder, Scene(cube=cube), quality=0)
    kept = 1.1 * len(stream)  # room for all tiles, and not for one that is coded exactly
    assert kept < len(encoder._exact.encode(cube[:, :TILE]))
    _with_faults(encoder, *range(0, 300, 3))  # the first tile of every attempt

    acquisition = Acquisition(samples=SAMPLES, dtype=cube.dtype, lines=TILE)
    budget = DownlinkBudget(octets_per_line=kept / TILE, window_lines=TILE)
    push_broom = SceneEncoder(encoder, acquisition, Packetiser(), downlink=budget)
    packets = [*push_broom.push(cube), *push_broom.flush()]

    assert sum(map(len, packets)) <= kept
    quality = decoder.decode(b"".join(packets), conceal=True).quality
    assert (quality[:, :TILE] == Quality.LOST).all()
    assert (quality[:, TILE:] >= Quality.AFFECTED).all()


@given(
    cube=st.sampled_from([np.uint8, np.int8, np.uint16, np.int16]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=3, max_dims=3, max_side=7))
    )
)
@settings(deadline=None, max_examples=200)
def test_any_cube_comes_back_exactly(decoder: LatentDecoder, cube: np.ndarray) -> None:
    octets = decoder._exact.encode(cube)

    assert np.array_equal(decoder._exact.decode(octets, cube.shape, cube.dtype), cube)


@given(position=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.integers(0, 40))
@settings(deadline=None, max_examples=300)
def test_garbled_lossless_units_are_refused_or_give_a_cube_of_their_shape(
    decoder: LatentDecoder, position: int, value: int, cut: int
) -> None:
    cube = smooth_cube(5, 6, 7)
    octets = bytearray(decoder._exact.encode(cube))
    octets[position % len(octets)] = value
    try:
        decoded = decoder._exact.decode(bytes(octets[: len(octets) - cut]), (5, 6, 7), cube.dtype)
    except DecodeError:
        return
    assert decoded.shape == cube.shape


def _altered_engine(encoder: LatentRowEncoder) -> None:
    latent_with_faults(encoder, {1}, ("symbols", 7))


def _dead_engine(encoder: LatentRowEncoder) -> None:
    latent_with_faults(encoder, {0})


def _altered_gains(encoder: LatentRowEncoder) -> None:
    encoder.bundle.gains.values[0, 0, 0] += 1


@pytest.mark.parametrize("fault", [_altered_engine, _dead_engine, _altered_gains])
def test_a_scrub_loads_anew_what_changed_in_memory(
    encoder: LatentRowEncoder, decoder: LatentDecoder, fault: Any
) -> None:
    scene = Scene(cube=smooth_cube(TILE, TILE, BANDS))
    sound = scene_stream(encoder, scene)
    fault(encoder)

    assert not encoder.scrub()

    assert scene_stream(encoder, scene) == sound
    assert encoder.scrub()
    assert (encoder.health.scrubs, encoder.health.repairs) == (2, 1)


def test_an_engine_loaded_anew_that_fails_its_checks_does_not_code(
    encoder: LatentRowEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_faults(encoder, *range(100), fault=("symbols", 7))
    before = encoder.bundle, encoder._engine, encoder._coder

    original = LatentBundle.load_engine

    def load(bundle: LatentBundle, graph: str, *rest: Any, **options: Any) -> Engine:
        engine = original(bundle, graph, *rest, **options)
        calls = iter(range(100))
        faulty = FaultyEngine(engine, fails=lambda: next(calls) == 2, fault=("scale_index", 63))
        return faulty if graph == ENCODER else engine

    with monkeypatch.context() as context:
        context.setattr(LatentBundle, "load_engine", load)
        with pytest.raises(BundleError, match="use another engine"):
            encoder.scrub()

    now = encoder.bundle, encoder._engine, encoder._coder
    assert all(map(operator.is_, now, before))
    assert (encoder.health.scrubs, encoder.health.repairs) == (1, 0)
    assert not encoder.scrub()
    assert (encoder.health.scrubs, encoder.health.repairs) == (2, 1)


def test_only_the_first_failures_are_listed(encoder: LatentRowEncoder) -> None:
    cube = smooth_cube(TILE, TILE, BANDS)
    _with_faults(encoder, *range(MAX_FALLBACKS + 1))

    for _ in range(MAX_FALLBACKS + 1):
        scene_stream(encoder, Scene(cube=cube))

    assert encoder.health.fallback_count == MAX_FALLBACKS + 1
    assert len(encoder.health.fallbacks) == MAX_FALLBACKS


class TestHealthFile:
    @pytest.fixture
    def scene(self, tmp_path: Path) -> Path:
        np.savez(tmp_path / "scene.npz", cube=smooth_cube(LINES, SAMPLES, BANDS))
        return tmp_path / "scene.npz"

    def test_it_says_what_was_coded_and_how_long_it_took(self, scene: Path, tiny_bundle: Path) -> None:
        health, out = scene.with_name("health.json"), scene.with_name("scene.packets")

        arguments = [str(scene), "--bundle", str(tiny_bundle), "--out", str(out), "--health", str(health)]
        assert encode_scene(arguments) == 0

        document = json.loads(health.read_text())
        assert (document["state"], document["problem"]) == ("done", None)
        assert (document["tiles"], document["fallback_count"], document["queue"]) == (9, 0, 0)
        assert 1 <= document["largest_queue"] <= document["workers"] + 2
        assert document["stages"]["engine_s"] > 0

    def test_it_and_the_command_name_tiles_that_the_engine_failed_on(
        self, scene: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        health, out = scene.with_name("health.json"), scene.with_name("scene.packets")
        load = LatentRowEncoder._load
        monkeypatch.setattr(
            LatentRowEncoder,
            "_load",
            lambda encoder, bundle, coder: (load(encoder, bundle, coder), _with_faults(encoder, 4))[0],
        )

        arguments = [str(scene), "--bundle", str(tiny_bundle), "--out", str(out), "--health", str(health)]
        assert encode_scene(arguments) == 0

        assert "failed on 1 tiles" in capsys.readouterr().out
        (fallback,) = json.loads(health.read_text())["fallbacks"]
        assert fallback["reason"] == "the device is gone"
        decoded = scene.with_name("decoded.npz")
        assert decode_packets([str(out), "--bundle", str(tiny_bundle), "--out", str(decoded)]) == 0

    def test_a_run_that_fails_says_why(self, scene: Path, tiny_bundle: Path) -> None:
        health, out = scene.with_name("health.json"), scene.with_name("scene.packets")

        arguments = [str(scene), "--bundle", str(tiny_bundle), "--out", str(out), "--health", str(health)]
        assert encode_scene([*arguments, "--max-bytes", "100"]) == 1

        document = json.loads(health.read_text())
        assert document["state"] == "failed"
        assert "lowest rate" in document["problem"]
        assert not out.exists()

    def test_a_failure_is_told_where_the_file_cannot_be_written_too(self, tmp_path: Path) -> None:
        folder = tmp_path / "health"

        def fail() -> None:
            with reported(folder / "health.json", lambda: {}):
                shutil.rmtree(folder)
                folder.write_text("in the way")
                raise DecodeError("the cause")

        with pytest.raises(DecodeError, match="the cause"):
            fail()

    def test_it_may_not_be_another_file_of_the_command(
        self, scene: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = scene.with_name("scene.packets")
        for health in (scene, out, tiny_bundle / "health.json"):
            arguments = [str(scene), "--bundle", str(tiny_bundle), "--out", str(out), "--health", str(health)]
            assert encode_scene(arguments) == 1
            assert "--health" in capsys.readouterr().err
