"""The list of scenes that a run leaves beside its weights: of what it read, and of what it began with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_runtime.codec.bundle_files import REPORT
from hyvic_runtime.codec.seen_scenes import ENTRY, Seen, seen_scenes_of
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.scene.content_hash import content_sha256
from hyvic_train.checkpoint import TRAINING_DATA, training_data_of
from hyvic_train.cli import main
from hyvic_train.training_data import UNKNOWN, TrainingData
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scenes import smooth_cube

ADAPTIVE: dict[str, Any] = {
    "model": {"family": "adaptive", "width": 8},
    "optimisation": {"steps": 6, "integer_path_steps": 1, "checkpoint_every": 2},
    "samples": {"rows": 1000, "components": 4, "smallest_step": 4, "largest_step": 60},
    "data": {"crop": 16, "validation": ["v*"]},
}
HYVIC: dict[str, Any] = {
    "model": {"bands": 8, "latent_channels": 10, "hyperlatent_channels": 6, "spatial_stages": 1},
    "optimisation": {"lmbda": 1e-4, "steps": 1, "batch_size": 2, "klt_step": 30},
    "data": {"crop": 16, "remove_mean_spectrum": True, "wavelengths": [400.0 + 10 * band for band in range(8)]},
}


def _scene(folder: Path, name: str, bands: int = 8, **others: Any) -> str:
    """Write a scene, and return its content hash."""
    cube = smooth_cube(24, 20, bands, ord(name[0]))
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{name}.npz", cube=cube, **others)
    return content_sha256(cube)


def _train(tmp_path: Path, config: dict[str, Any], out: str, *words: str, data: str = "scenes") -> int:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return main([str(tmp_path / "config.yaml"), "--data", str(tmp_path / data), "--out", str(tmp_path / out), *words])


def test_a_run_lists_the_scenes_to_train_on_and_those_to_validate_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = {name: _scene(tmp_path / "scenes", name) for name in ("a", "b", "v")}
    assert _train(tmp_path, ADAPTIVE, "out", "--json") == 0
    expected = TrainingData(training={hashes["a"]: "a", hashes["b"]: "b"}, validation={hashes["v"]: "v"})
    assert training_data_of(tmp_path / "out") == training_data_of(tmp_path / "out" / "best") == expected
    counts = json.loads(capsys.readouterr().out)["training_data"]
    assert counts == {"training": 2, "validation": 1, "complete": True}


def test_scenes_are_listed_as_they_are_stored_and_not_as_the_model_sees_them(tmp_path: Path) -> None:
    # Twelve bands, brought to the model's eight, without their mean.
    sha256 = _scene(tmp_path / "scenes", "a", bands=12, wavelengths=np.linspace(390, 480, 12))
    assert _train(tmp_path, HYVIC, "out") == 0
    assert training_data_of(tmp_path / "out") == TrainingData(training={sha256: "a"})


def test_a_resumed_run_keeps_its_list(tmp_path: Path) -> None:
    hashes = {name: _scene(tmp_path / "scenes", name) for name in ("a", "b", "v")}
    config = {**ADAPTIVE, "optimisation": {**ADAPTIVE["optimisation"], "steps": 4}}
    assert _train(tmp_path, config, "out") == 0
    # As after a stop at step 3 of which the state alone is left: it was to read `a` no more.
    for name in (TRAINING_DATA, f"best/{TRAINING_DATA}"):
        (tmp_path / "out" / name).unlink()
    _rewind(tmp_path / "out" / "resume.safetensors", step=3)
    shutil.copytree(tmp_path / "scenes", tmp_path / "less")
    (tmp_path / "less" / "a.npz").unlink()
    assert _train(tmp_path, config, "out", "--resume", data="less") == 0
    names = {hashes["a"]: "a", hashes["b"]: "b"}
    assert training_data_of(tmp_path / "out") == TrainingData(training=names, validation={hashes["v"]: "v"})


def test_a_run_that_an_earlier_release_began_does_not_claim_to_know_all_its_scenes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = {name: _scene(tmp_path / "scenes", name) for name in ("a", "v")}
    assert _train(tmp_path, ADAPTIVE, "out") == 0
    _rewind(tmp_path / "out" / "resume.safetensors", step=5, forget=True)
    capsys.readouterr()
    assert _train(tmp_path, ADAPTIVE, "out", "--resume") == 0
    assert "the scenes that the weights or the run began with are unknown" in capsys.readouterr().out
    answers = training_data_of(tmp_path / "out").seen_scenes
    assert answers.answer(hashes["a"]) is Seen.TRAINED
    assert answers.answer("0" * 64) is Seen.UNKNOWN


def _rewind(path: Path, *, step: int, forget: bool = False) -> None:
    """Let a state begin at an earlier step; with `forget` as a release without lists wrote it."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = {**json.loads(metadata["state"]), "step": step}
    if forget:
        del state["data"]
    save_file(load_file(path), path, {**metadata, "state": json.dumps(state)})


def test_weights_bring_their_list_along_or_make_it_incomplete(tmp_path: Path) -> None:
    first = _scene(tmp_path / "first", "a")
    second = _scene(tmp_path / "second", "b")
    assert _train(tmp_path, HYVIC, "one", data="first") == 0
    assert _train(tmp_path, HYVIC, "two", "--weights", str(tmp_path / "one"), data="second") == 0
    assert training_data_of(tmp_path / "two") == TrainingData(training={first: "a", second: "b"})
    weights = str(tmp_path / "one" / "model.safetensors")
    assert _train(tmp_path, HYVIC, "three", "--weights", weights, data="second") == 0
    assert training_data_of(tmp_path / "three") == TrainingData(training={second: "b"}, complete=False)


def test_an_exported_bundle_tells_what_its_checkpoint_lists_and_nothing_else_changes(
    tmp_path: Path, tiny_context_checkpoint: Path
) -> None:
    listed = Path(shutil.copytree(tiny_context_checkpoint, tmp_path / "checkpoint"))
    assert training_data_of(listed) == UNKNOWN
    data = TrainingData(training={"a" * 64: "a"}, validation={"b" * 64: "b"})
    (listed / TRAINING_DATA).write_text(json.dumps(data.document()))
    for checkpoint, out in ((listed, "listed.bundle"), (tiny_context_checkpoint, "plain.bundle")):
        bundle_from_checkpoint(checkpoint, tmp_path / out, tile=32)
    bundle, plain = (read_bundle(tmp_path / out) for out in ("listed.bundle", "plain.bundle"))
    assert [seen_scenes_of(bundle).answer(letter * 64) for letter in "abc"] == [Seen.TRAINED, Seen.MEASURED, Seen.NO]
    assert seen_scenes_of(plain).answer("a" * 64) is Seen.UNKNOWN
    assert bundle.identity == plain.identity
    assert bundle.manifest.files == plain.manifest.files
    reports = [json.loads((found.folder / REPORT).read_text()) for found in (bundle, plain)]
    assert reports[0].pop(ENTRY) == {"complete": True, "training": ["a" * 16], "validation": ["b" * 16]}
    assert reports[0] == reports[1]
