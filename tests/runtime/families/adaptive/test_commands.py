"""The commands with an adaptive bundle: scene to packets to any file, archives, and a simulated downlink."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coded_scenes import TILE, packets_of
from conftest import ROOT, smooth_cube
from hyvic_runtime import cli
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.simulation.channel import Channel
from hyvic_runtime.simulation.downlink import DownlinkSimulator, Settings, Simulation
from hyvic_runtime.support.metrics import psnr

BANDS = 6
SHAPE = (TILE + 3, TILE + 3, BANDS)
LATENT_BUNDLE = ROOT / "tests" / "golden" / "stream" / "bundle"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    np.savez(tmp_path / "scene.npz", cube=smooth_cube(*SHAPE))
    return tmp_path / "scene.npz"


def _json(capsys: Capture) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_encode_scene_keeps_what_it_is_asked(scene: Path, tiny_adaptive_bundle: Path, capsys: Capture) -> None:
    out = scene.with_name("p")
    rest = [str(scene), "--bundle", str(tiny_adaptive_bundle), "--out", str(out), "--json"]
    assert cli.encode_scene([*rest, "--quality", "75"]) == 0
    octets = _json(capsys)["octets"]
    assert cli.encode_scene([*rest, "--max-bytes", str(octets)]) == 0
    result = _json(capsys)
    assert 0.97 * octets <= out.stat().st_size <= octets
    assert (result["budget"], result["octets"]) == (octets, out.stat().st_size)
    ratio = 2 * np.prod(SHAPE) / octets
    assert cli.encode_scene([*rest, "--target-ratio", str(ratio)]) == 0
    assert ratio <= _json(capsys)["compression_ratio"] <= ratio / 0.97
    assert cli.encode_scene([*rest, "--min-psnr", "55"]) == 0
    assert _json(capsys)["psnr_db"] >= 55
    assert cli.encode_scene([*rest, "--max-bytes", "30"]) == 1
    assert "the budget is 30 octets and the bundle's lowest rate takes" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_scene_to_packets_to_file(scene: Path, tiny_adaptive_bundle: Path, suffix: str, capsys: Capture) -> None:
    stream, out, health = (scene.with_name(name) for name in ("p", f"d{suffix}", "health.json"))
    words = [str(scene), "--bundle", str(tiny_adaptive_bundle), "--out", str(stream), "--health", str(health)]
    assert cli.encode_scene([*words, "--progressive"]) == 0
    assert cli.decode_packets([str(stream), "--bundle", str(tiny_adaptive_bundle), "--out", str(out)]) == 0
    assert psnr(np.load(scene)["cube"], read_scene(out).cube, 10_000) > 55
    document = json.loads(health.read_text())
    assert (document["state"], document["tiles"], document["fallback_count"]) == ("done", 4, 0)
    capsys.readouterr()


def test_concealed_losses_are_marked(
    scene: Path, encoder: AdaptiveRowEncoder, tiny_adaptive_bundle: Path, capsys: Capture
) -> None:
    packets = packets_of(encoder, np.load(scene)["cube"])
    stream, out, quality = (scene.with_name(name) for name in ("p", "d.npy", "d.npy.quality.npy"))
    stream.write_bytes(
        b"".join(p for p in packets if p[14] != UnitKind.STRIP_BASIS or int.from_bytes(p[19:21], "big") != 1)
    )
    words = [str(stream), "--bundle", str(tiny_adaptive_bundle), "--out", str(out)]
    assert cli.decode_packets(words) == 1
    assert "2 of 4 tiles cannot be decoded (tile 1, 0: the basis of its row did not arrive" in capsys.readouterr().err
    assert cli.decode_packets([*words, "--conceal"]) == 0
    assert (np.load(quality)[:TILE] == Quality.EXACT).all()
    assert (np.load(quality)[TILE:] == Quality.LOST).all()
    assert "bands" not in capsys.readouterr().err


def test_another_bundles_stream_is_one_line(scene: Path, tiny_adaptive_bundle: Path, capsys: Capture) -> None:
    stream, out = scene.with_name("p"), scene.with_name("d.npy")
    for theirs, ours in ((tiny_adaptive_bundle, LATENT_BUNDLE), (LATENT_BUNDLE, tiny_adaptive_bundle)):
        assert cli.encode_scene([str(scene), "--bundle", str(theirs), "--out", str(stream)]) == 0
        capsys.readouterr()
        assert cli.decode_packets([str(stream), "--bundle", str(ours), "--out", str(out)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "decode it with the bundle that encoded it" in line
        assert not out.exists()


def test_a_key_protects_a_scene(scene: Path, tiny_adaptive_bundle: Path, capsys: Capture) -> None:
    key, stream, out = (scene.with_name(name) for name in ("key", "p", "d.npy"))
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    bundle = ["--bundle", str(tiny_adaptive_bundle)]
    assert cli.encode_scene([str(scene), *bundle, "--out", str(stream), "--key", str(key)]) == 0
    assert cli.decode_packets([str(stream), *bundle, "--out", str(out)]) == 1
    assert cli.decode_packets([str(stream), *bundle, "--out", str(out), "--key", str(key)]) == 0
    capsys.readouterr()


def test_an_archive_is_decoded_but_for_what_is_damaged(
    encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder, tiny_adaptive_bundle: Path, tmp_path: Path, capsys: Capture
) -> None:
    """In this process; what a cluster adds is told in tests/runtime/codec/test_scene_decoder.py."""
    from dask.distributed import Client

    archive, out = tmp_path / "archive", tmp_path / "decoded"
    archive.mkdir()
    cubes = [smooth_cube(20, 40, bands, seed=bands) for bands in (3, BANDS)]
    packets = [packets_of(encoder, cube, scene_id=number) for number, cube in enumerate(cubes)]
    (archive / "both.packets").write_bytes(b"".join(map(b"".join, packets)))
    (archive / "cut.packets").write_bytes(b"".join(packets[0][:-1]))
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:
        scheduler = client.cluster.scheduler_address
        words = [str(archive), "--bundle", str(tiny_adaptive_bundle), "--out", str(out), "--scheduler", scheduler]
        assert cli.decode_packets([*words, "--json"]) == 1
    result = _json(capsys)
    assert (result["streams"], result["decoded"], result["scenes"]) == (2, 1, 2)
    assert list(result["failed"]) == [str(archive / "cut.packets")]
    for number in range(2):
        expected = decoder.decode(b"".join(packets[number])).scene.cube
        assert np.array_equal(np.load(out / "both.packets" / f"{number}.npz")["cube"], expected)


@pytest.fixture(scope="module")
def simulator(encoder: AdaptiveRowEncoder, decoder: AdaptiveDecoder) -> DownlinkSimulator:
    return DownlinkSimulator(Scene(cube=smooth_cube(2 * TILE + 3, TILE + 3, 2)), encoder, decoder)


@pytest.fixture(scope="module")
def whole(simulator: DownlinkSimulator) -> Simulation:
    return simulator.simulate(Settings(channel=Channel(), packet_octets=200))


def test_nothing_is_lost_on_a_perfect_channel(whole: Simulation) -> None:
    assert whole.fates["arrived"] == whole.packets
    assert (whole.hit_tiles, whole.unhit_exact, whole.problem) == ([], True, None)
    assert whole.received.shares["exact"] == 1
    assert whole.latency.tiles == whole.tiles == 6


@pytest.mark.parametrize("seed", range(2))
def test_in_a_simulation_a_lost_basis_hits_its_row(simulator: DownlinkSimulator, whole: Simulation, seed: int) -> None:
    simulation = simulator.simulate(Settings(channel=Channel(packet_loss=0.06), seed=seed, packet_octets=60))
    assert simulation.fates["lost"] > 0
    if simulation.decoded is None:
        assert simulation.problem is not None
        return
    assert simulation.unhit_exact
    hit = {(row, column) for row, column in simulation.hit_tiles}
    for row in range(3):
        area = simulation.decoded.quality[row * TILE : (row + 1) * TILE]
        if (area == Quality.LOST).all():
            assert {(row, 0), (row, 1)} <= hit


def test_simulate_downlink_writes_its_report(scene: Path, tiny_adaptive_bundle: Path, capsys: Capture) -> None:
    report = scene.with_name("report")
    words = [str(scene), "--bundle", str(tiny_adaptive_bundle), "--packet-loss", "0.1", "--report", str(report)]
    assert cli.simulate_downlink([*words, "--json"]) == 0
    assert _json(capsys)["tiles"] == 4
    assert (report / "report.json").exists()
