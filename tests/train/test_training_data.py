from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hyvic_runtime.codec.seen_scenes import Seen
from hyvic_train.checkpoint import TRAINING_DATA, CheckpointError, training_data_of
from hyvic_train.training_data import UNKNOWN, TrainingData, training_data_from_json
from scenes import ROOT

A, B = "a" * 64, "b" * 64


def test_a_document_is_read_back() -> None:
    data = TrainingData(training={A: "z", B: "a"}, validation={B: "v"}, complete=False)
    assert list(data.document()["training"].values()) == ["a", "z"]
    assert training_data_from_json(json.loads(json.dumps(data.document()))) == data


def test_what_is_joined_with_an_unknown_past_is_incomplete() -> None:
    own = TrainingData(training={A: "a"})
    joined = own.joined(UNKNOWN)
    assert joined == TrainingData(training={A: "a"}, complete=False)
    assert joined.seen_scenes.answer(A) is Seen.TRAINED
    assert joined.seen_scenes.answer(B) is Seen.UNKNOWN
    assert own.joined(TrainingData(validation={B: "b"})).seen_scenes.answer(B) is Seen.MEASURED


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "training, validation and complete are needed"),
        ({"training": {}, "validation": {}}, "training, validation and complete are needed"),
        ({"training": {}, "validation": {}, "complete": 1}, "complete is 1"),
        ({"training": [], "validation": {}, "complete": True}, "training must hold names by their content hashes"),
        ({"training": {A: 3}, "validation": {}, "complete": True}, "training must hold names by their content hashes"),
        ({"training": {}, "validation": {"A" * 64: "a"}, "complete": True}, "which is no content hash"),
        ({"training": {}, "validation": {"a" * 16: "a"}, "complete": True}, "which is no content hash"),
    ],
)
def test_a_damaged_file_is_not_taken_for_a_missing_one(tmp_path: Path, document: Any, reason: str) -> None:
    assert training_data_of(tmp_path) == UNKNOWN
    (tmp_path / TRAINING_DATA).write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=reason):
        training_data_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "training", "validation"), [("adaptive", 12, 6), ("hyvic-s-202", 13, 2), ("joint-s-202", 13, 2)]
)
def test_the_shipped_checkpoints_list_the_scenes_that_their_configuration_and_readme_name(
    name: str, training: int, validation: int
) -> None:
    folder = ROOT / "checkpoints" / name
    data = training_data_of(folder)
    assert (len(data.training), len(data.validation), data.complete) == (training, validation, True)
    points = json.loads((folder / "rd.json").read_text())["points"]
    assert set(data.validation.values()) == set(points[0]["scenes"])
    assert not set(data.training) & set(data.validation)
