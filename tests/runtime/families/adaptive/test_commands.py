"""The commands with an adaptive bundle: scene to packets to any file, archives, and a simulated downlink."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coded_scenes import packets_of
from hyvic_runtime import cli
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.simulation.channel import Channel
from hyvic_runtime.simulation.downlink import DownlinkSimulator, Settings
from scenes import ROOT, TILE, smooth_cube

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


@pytest.mark.parametrize("seed", range(2))
def test_in_a_simulation_a_lost_basis_hits_its_row(simulator: DownlinkSimulator, seed: int) -> None:
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
