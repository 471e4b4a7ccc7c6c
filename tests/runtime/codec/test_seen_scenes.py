from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hyvic_runtime.cli import verify_bundle
from hyvic_runtime.codec.seen_scenes import Seen, SeenScenes, seen_scenes_of
from hyvic_runtime.errors import BundleError
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.scene.content_hash import content_sha256
from listed_bundle import bundle_with_entry, listed_bundle
from scenes import smooth_cube

A, B, C = (letter * 64 for letter in "abc")


def test_a_bundle_answers_yes_no_and_for_the_validation(tmp_path: Path, tiny_adaptive_bundle: Path) -> None:
    listed = read_bundle(listed_bundle(tiny_adaptive_bundle, tmp_path / "b", training=(A,), validation=(B, A)))
    answers = [seen_scenes_of(listed).answer(sha256) for sha256 in (A, B, C)]
    assert answers == [Seen.TRAINED, Seen.MEASURED, Seen.NO]


def test_without_a_list_or_with_an_incomplete_one_the_answer_is_never_no(
    tmp_path: Path, tiny_adaptive_bundle: Path
) -> None:
    assert seen_scenes_of(read_bundle(tiny_adaptive_bundle)).answer(A) is Seen.UNKNOWN
    folder = listed_bundle(tiny_adaptive_bundle, tmp_path / "b", training=(A,), validation=(B,), complete=False)
    known = seen_scenes_of(read_bundle(folder))
    # What validated this training may have been trained on before.
    assert [known.answer(sha256) for sha256 in (A, B, C)] == [Seen.TRAINED, Seen.UNKNOWN, Seen.UNKNOWN]


@pytest.mark.parametrize("family", ["tiny_bundle", "tiny_joint_bundle", "tiny_adaptive_bundle"])
def test_the_list_does_not_change_the_identity(tmp_path: Path, family: str, request: pytest.FixtureRequest) -> None:
    bundle = read_bundle(request.getfixturevalue(family))
    listed = read_bundle(listed_bundle(bundle.folder, tmp_path / "b", training=(A,)))
    assert listed.identity == bundle.identity
    assert seen_scenes_of(listed) == SeenScenes(training=frozenset({A[:16]}), complete=True)


@pytest.mark.parametrize(
    "entry",
    [
        [],
        {"complete": True, "training": []},
        {"complete": 1, "training": [], "validation": []},
        {"complete": True, "training": ["abc"], "validation": []},
        {"complete": True, "training": [5], "validation": []},
        {"complete": True, "training": 5, "validation": []},
    ],
)
def test_a_damaged_list_is_not_taken_for_a_missing_one(tmp_path: Path, tiny_adaptive_bundle: Path, entry: Any) -> None:
    bundle = read_bundle(bundle_with_entry(tiny_adaptive_bundle, tmp_path / "b", entry))
    with pytest.raises(BundleError, match=r"report\.json: training_data cannot be read .*; export the bundle again"):
        seen_scenes_of(bundle)


def test_verify_bundle_says_which_scenes_the_model_was_trained_on(
    tmp_path: Path, tiny_adaptive_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cubes = [smooth_cube(8, 7, 5, seed=seed) for seed in range(2)]
    np.savez(tmp_path / "seen.npz", cube=cubes[0])
    np.save(tmp_path / "crop.npy", cubes[0][:7])
    np.save(tmp_path / "new.npy", cubes[1])
    scenes = [str(tmp_path / name) for name in ("seen.npz", "crop.npy", "new.npy")]
    listed = listed_bundle(tiny_adaptive_bundle, tmp_path / "b", training=(content_sha256(cubes[0]),))
    assert verify_bundle([str(listed), "--scene", *scenes, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [entry["training"] for entry in result["scenes"].values()] == ["seen", "not seen", "not seen"]
    assert result["training_data"] == {"training": 1, "validation": 0, "complete": True}
    assert verify_bundle([str(tiny_adaptive_bundle), "--scene", scenes[0]]) == 0
    assert "seen.npz: unknown whether the model was trained on it" in capsys.readouterr().out
