"""`decode-packets` of streams that hold several scenes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, smooth_cube
from hyvic_runtime.bundle import read_bundle
from hyvic_runtime.cli import decode_packets
from hyvic_runtime.decoder import SceneDecoder
from hyvic_runtime.encoder import SceneEncoder
from hyvic_runtime.scene import Scene
from hyvic_runtime.space_packet import Packetiser

BUNDLE = ROOT / "tests" / "golden" / "stream" / "bundle"


@pytest.fixture(scope="module")
def encoder() -> SceneEncoder:
    return SceneEncoder(read_bundle(BUNDLE))


@pytest.fixture(scope="module")
def packets(encoder: SceneEncoder) -> dict[int, list[bytes]]:
    """Of two scenes, by identifier."""
    return {scene_id: _packets(encoder, scene_id) for scene_id in (11, 12)}


def _packets(encoder: SceneEncoder, scene_id: int) -> list[bytes]:
    scene = Scene(cube=smooth_cube(20, 35, bands=6, seed=scene_id))
    tiles = encoder.tile_packets(scene, Packetiser(packet_octets=200), scene_id=scene_id)
    return [packet for packets in tiles for packet in packets]


@pytest.fixture
def mixed(packets: dict[int, list[bytes]], tmp_path: Path) -> Path:
    """A stream whose packets are of two scenes by turns."""
    stream = tmp_path / "pass.packets"
    stream.write_bytes(b"".join(packet for pair in zip(*packets.values(), strict=True) for packet in pair))
    return stream


@pytest.fixture(scope="module")
def cubes(packets: dict[int, list[bytes]]) -> dict[int, np.ndarray]:
    decoder = SceneDecoder(read_bundle(BUNDLE))
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
        (["--out", "x"], "cannot write '' files"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    mixed: Path, words: list[str], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _decode(mixed, *words) == 1
    assert match in capsys.readouterr().err
