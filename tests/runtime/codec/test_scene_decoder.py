"""`decode-packets` of streams that hold several scenes, and of archives."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster
from hyvic_runtime.cli import decode_packets
from hyvic_runtime.codec.scene_encoder import scene_packets
from hyvic_runtime.errors import BundleError
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.ground.stream_archive import _decoder, decode_stream
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.scene import Scene
from scenes import ROOT, smooth_cube

BUNDLE = ROOT / "tests" / "golden" / "stream" / "bundle"
Cluster = Any
A = {"monday/a.packets/11.npz", "monday/a.packets/decoded.json"}
"""What the first stream of the archive gives."""


@pytest.fixture(scope="module")
def encoder() -> LatentRowEncoder:
    return LatentRowEncoder(read_bundle(BUNDLE))


@pytest.fixture(scope="module")
def packets(encoder: LatentRowEncoder) -> dict[int, list[bytes]]:
    """Of two scenes, by identifier."""
    return {scene_id: _packets(encoder, scene_id) for scene_id in (11, 12)}


def _packets(encoder: LatentRowEncoder, scene_id: int) -> list[bytes]:
    scene = Scene(cube=smooth_cube(20, 35, bands=6, seed=scene_id))
    tiles = scene_packets(encoder, scene, Packetiser(packet_octets=200), scene_id=scene_id)
    return [packet for packets in tiles for packet in packets]


@pytest.fixture
def mixed(packets: dict[int, list[bytes]], tmp_path: Path) -> Path:
    """A stream whose packets are of two scenes by turns."""
    stream = tmp_path / "pass.packets"
    stream.write_bytes(b"".join(packet for pair in zip(*packets.values(), strict=True) for packet in pair))
    return stream


@pytest.fixture(scope="module")
def cubes(packets: dict[int, list[bytes]]) -> dict[int, np.ndarray]:
    decoder = LatentDecoder(read_bundle(BUNDLE))
    return {scene_id: decoder.decode(b"".join(scene)).scene.cube for scene_id, scene in packets.items()}


def _decode(*words: object) -> int:
    return decode_packets([*map(str, words), "--bundle", str(BUNDLE)])


def test_several_scenes_do_not_fit_one_file(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = mixed.with_name("decoded.npy")
    assert _decode(mixed, "--out", out) == 1
    error = capsys.readouterr().err
    assert "the stream holds 2 scenes (11, 12); choose one with --scene-id, or name a folder with --out" in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_one_of_several_scenes_is_chosen(
    mixed: Path, cubes: dict[int, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    out = mixed.with_name("decoded.npy")
    assert _decode(mixed, "--out", out, "--scene-id", 12, "--json") == 0
    assert json.loads(capsys.readouterr().out)["scene_id"] == 12
    assert np.array_equal(np.load(out), cubes[12])
    assert _decode(mixed, "--out", f"{mixed.parent}/one/", "--scene-id", 11) == 0
    assert [path.name for path in (mixed.parent / "one").iterdir()] == ["11.npz"]
    assert _decode(mixed, "--out", f"{mixed.parent}/none/", "--scene-id", 13) == 1
    assert "scene 13: is not in the stream; it holds 11, 12" in capsys.readouterr().err
    assert not (mixed.parent / "none").exists()


def test_a_folder_gets_a_file_a_scene(
    mixed: Path, cubes: dict[int, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = mixed.with_name("scenes")
    assert _decode(mixed, "--out", f"{folder}/", "--format", "npy", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [scene["file"] for scene in result["scenes"]] == [str(folder / "11.npy"), str(folder / "12.npy")]
    assert (result["failed"], result["strays"]) == ({}, {})
    for scene_id, cube in cubes.items():
        assert np.array_equal(np.load(folder / f"{scene_id}.npy"), cube)
    assert _decode(mixed, "--out", folder, "--conceal") == 0  # it exists, so it needs no /
    assert "2 scenes written" in capsys.readouterr().out
    assert {path.name for path in folder.glob("*.npz*")} == {
        f"{scene_id}.npz{kind}" for scene_id in cubes for kind in ("", ".quality.npy")
    }


def test_a_scene_that_lost_its_header_does_not_go_unnoticed(
    packets: dict[int, list[bytes]], cubes: dict[int, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream, out = tmp_path / "pass.packets", tmp_path / "decoded.npy"
    stream.write_bytes(b"".join(packets[11] + packets[12][1:]))

    assert _decode(stream, "--out", out) == 1
    assert "packets of 1 scenes without a header dropped; send these scenes again" in capsys.readouterr().err
    assert np.array_equal(np.load(out), cubes[11])
    assert _decode(stream, "--out", out, "--conceal") == 0


def test_a_scene_that_fails_leaves_the_others_of_its_stream(
    mixed: Path, packets: dict[int, list[bytes]], cubes: dict[int, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    mixed.write_bytes(b"".join(packets[11][:-1] + packets[12]))
    folder = mixed.with_name("scenes")
    assert _decode(mixed, "--out", f"{folder}/", "--format", "npy", "--json") == 1
    captured = capsys.readouterr()
    assert list(json.loads(captured.out)["failed"]) == ["scene 11"]
    assert "1 scenes written; scene 11: 1 of 6 tiles cannot be decoded" in captured.err
    assert [path.name for path in folder.iterdir()] == ["12.npy"]
    assert np.array_equal(np.load(folder / "12.npy"), cubes[12])


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--out", "x.npy", "--format", "npy"], "--format is for the files of a folder"),
        (["--out", "x.npy", "--scheduler", "tcp://localhost:1"], "--scheduler is for an archive"),
        (["--out", "x"], "cannot write '' files"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    mixed: Path, words: list[str], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _decode(mixed, *words) == 1
    assert match in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------- archives


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """In this process, so that it is there at once."""
    make: Any = LocalCluster
    with make(n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0") as local:
        yield local


@pytest.fixture
def archive(packets: dict[int, list[bytes]], mixed: Path) -> Path:
    """Three streams, one of them damaged and one of two scenes, and what is none."""
    folder = mixed.parent / "archive"
    (folder / "monday").mkdir(parents=True)
    (folder / "monday" / "a.packets").write_bytes(b"".join(packets[11]))
    (folder / "monday" / "b.packets").write_bytes(b"".join(packets[12][:-1]))
    mixed.rename(folder / "c.packets")
    (folder / "notes.txt").write_text("none")
    unfinished = folder / ".d.packets.x"
    unfinished.mkdir()
    (unfinished / "d.packets").write_bytes(b"half")
    return folder


def _snapshot(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_an_archive_is_decoded_but_for_what_is_damaged(
    archive: Path, cluster: Cluster, cubes: dict[int, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    out = archive.with_name("decoded")
    words = (archive, "--out", out, "--scheduler", cluster.scheduler_address, "--json")
    assert _decode(*words) == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["streams"], result["decoded"], result["already_there"], result["scenes"]) == (3, 2, 0, 3)
    assert list(result["failed"]) == [str(archive / "monday" / "b.packets")]
    assert "1 of 6 tiles cannot be decoded" in captured.err
    assert len(captured.err.splitlines()) == 1
    written = {*A, "c.packets/11.npz", "c.packets/12.npz", "c.packets/decoded.json"}
    before = _snapshot(out)
    assert set(before) == written
    for file in ("monday/a.packets/11.npz", "c.packets/11.npz", "c.packets/12.npz"):
        assert np.array_equal(np.load(out / file)["cube"], cubes[int(Path(file).stem)])

    # Again: what is there stays as it is, and what was mended is decoded.
    (archive / "monday" / "b.packets").write_bytes((archive / "c.packets").read_bytes())
    assert _decode(*words) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["decoded"], result["already_there"], result["failed"]) == (1, 2, {})
    assert _snapshot(out).items() >= before.items()
    before = _snapshot(out)
    assert _decode(*words) == 0
    assert json.loads(capsys.readouterr().out)["already_there"] == 3
    assert _snapshot(out) == before


def test_what_changed_is_decoded_again(
    archive: Path, cluster: Cluster, packets: dict[int, list[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    (archive / "monday" / "b.packets").unlink()
    out = archive.with_name("decoded")
    words = (archive, "--out", out, "--scheduler", cluster.scheduler_address, "--json")
    assert _decode(*words) == 0
    (archive / "c.packets").write_bytes(b"".join(packets[12]))
    cut = out / "monday" / "a.packets" / "11.npz"
    cut.write_bytes(cut.read_bytes()[:-1])
    capsys.readouterr()
    assert _decode(*words) == 0
    assert json.loads(capsys.readouterr().out)["decoded"] == 2
    assert set(_snapshot(out)) == A | {"c.packets/12.npz", "c.packets/decoded.json"}
    cut.unlink()
    assert _decode(*words) == 0
    assert json.loads(capsys.readouterr().out)["decoded"] == 1
    assert _decode(*words, "--conceal") == 0
    assert json.loads(capsys.readouterr().out)["decoded"] == 2
    assert (out / "c.packets" / "12.npz.quality.npy").exists()
    assert _decode(*words, "--format", "hdr") == _decode(*words, "--format", "tif") == 0  # ENVI's are two files a scene
    assert {path.suffix for path in out.rglob("*.*") if path.is_file()} == {".tif", ".json"}


def test_what_an_archive_lacks_is_counted(
    archive: Path, cluster: Cluster, packets: dict[int, list[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    (archive / "c.packets").write_bytes(b"".join(packets[11] + packets[12][1:]))
    out = archive.with_name("decoded")
    words = (archive, "--out", out, "--scheduler", cluster.scheduler_address, "--conceal")
    for _ in range(2):
        assert _decode(*words, "--json") == 0
        result = json.loads(capsys.readouterr().out)
        assert (result["scenes"], result["inexact_scenes"], result["headless_scenes"]) == (3, 1, 1)
    assert _decode(*words) == 0
    assert (
        "1 scenes have pixels that are not exact, see their quality maps; 1 scenes without" in capsys.readouterr().out
    )


def test_a_worker_that_fails_leaves_the_other_streams(
    archive: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(stream: Path, folder: Path, options: object) -> object:
        if stream.name == "b.packets":
            raise RuntimeError("out of order")
        return decode_stream(stream, folder, options)

    monkeypatch.setattr("hyvic_runtime.ground.stream_archive.decode_stream", failing)
    words = (archive, "--out", archive.with_name("decoded"), "--scheduler", cluster.scheduler_address, "--json")
    assert _decode(*words) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["decoded"] == 2
    assert "b.packets: a worker failed: RuntimeError('out of order')" in captured.err


def test_what_others_put_into_a_streams_folder_is_never_removed(
    archive: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    (archive / "monday" / "b.packets").unlink()
    out = archive.with_name("decoded")
    thesis = out / "c.packets" / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("mine")
    assert _decode(archive, "--out", out, "--scheduler", cluster.scheduler_address) == 1
    assert "c.packets holds thesis.txt, so it is not replaced" in capsys.readouterr().err
    assert set(_snapshot(out)) == A | {"c.packets/thesis.txt"}


def test_a_worker_refuses_another_bundle() -> None:
    with pytest.raises(BundleError, match=r"on a worker and [0-9a-f]{16} on this machine"):
        _decoder(BUNDLE, bytes(32), None, None)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers at tcp://127.0.0.1:9"),
        (["--scheduler", "nonsense://x"], "no Dask scheduler answers at nonsense://x"),
        (["--scene-id", "1"], "--scene-id is for one stream"),
    ],
)
def test_an_archive_that_cannot_be_begun_is_one_line(
    archive: Path,
    words: list[str],
    match: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hyvic_runtime.ground.stream_archive.CONNECT_TIMEOUT_S", 0.5)
    assert _decode(archive, "--out", archive.with_name("decoded"), *words) == 1
    error = capsys.readouterr().err
    assert match in error
    assert len(error.splitlines()) == 1


def test_a_folder_without_streams_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scene.bin").write_bytes(b"")
    assert _decode(tmp_path, "--out", tmp_path / "decoded") == 1
    assert "holds no *.packets" in capsys.readouterr().err


def test_without_dask_the_extra_is_named(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert _decode(archive, "--out", archive.with_name("decoded")) == 1
    assert "pip install 'hyvic-onboard[archive]'" in capsys.readouterr().err


@pytest.mark.slow
def test_worker_processes_of_a_cluster_decode_an_archive(
    archive: Path, cubes: dict[int, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    out = archive.with_name("decoded")
    make: Any = LocalCluster
    options = {"threads_per_worker": 2, "dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    with make(n_workers=2, processes=True, **options) as processes:
        assert processes.scheduler_address.startswith("tcp://")
        assert _decode(archive, "--out", out, "--scheduler", processes.scheduler_address, "--json") == 1
    assert json.loads(capsys.readouterr().out)["decoded"] == 2
    assert np.array_equal(np.load(out / "c.packets" / "12.npz")["cube"], cubes[12])


def _command(*words: object) -> list[str]:
    script = "import sys; from hyvic_runtime.cli import decode_packets; sys.exit(decode_packets())"
    return [sys.executable, "-c", script, *map(str, words), "--bundle", str(BUNDLE)]


@pytest.mark.slow
def test_an_archive_on_this_machines_cores_prints_one_line(archive: Path) -> None:
    done = subprocess.run(
        _command(archive, "--out", archive.with_name("decoded")), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "2 streams decoded, 0 already there, 3 scenes" in done.stderr


@pytest.mark.slow
def test_an_interruption_keeps_what_is_finished(archive: Path, packets: dict[int, list[bytes]]) -> None:
    """Ctrl-C reaches every process of the terminal's foreground group, the workers too."""
    for number in range(400):
        (archive / f"{number:03}.packets").write_bytes(b"".join(packets[11]))
    out = archive.with_name("decoded")
    command = _command(archive, "--out", out)
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 600
    while len(list(out.glob("*/decoded.json"))) < 20:
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    _, error = running.communicate(timeout=600)
    assert running.returncode == 130
    assert "decode-packets: interrupted; " in error
    assert "streams are done and kept; run the same command for the rest" in error
    assert len(error.splitlines()) == 1, error
    finished = _snapshot(out)
    assert 20 <= len(list(out.glob("*/decoded.json"))) < 400
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    result = json.loads(again.stdout)
    assert result["already_there"] == len([path for path in finished if path.endswith("decoded.json")])
    assert result["decoded"] + result["already_there"] == 402
    assert _snapshot(out).items() >= finished.items()
