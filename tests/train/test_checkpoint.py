from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hyvic_train.checkpoint import WEIGHTS, CheckpointError
from hyvic_train.families.latent.checkpoint import load_checkpoint
from safetensors.torch import load_file, save_file


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


def test_weights_come_back_bit_for_bit(tiny_checkpoint: Path) -> None:
    model = load_checkpoint(tiny_checkpoint).model
    stored = load_file(tiny_checkpoint / WEIGHTS)
    for name, tensor in model.state_dict().items():
        if name in stored:
            assert torch.equal(tensor, stored[name])


def _edit(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors = load_file(folder / WEIGHTS)
    for name, value in changes.items():
        key = name.replace("__", ".")
        tensors.pop(key, None)
        if value is not None:
            tensors[key] = value
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"g_a__0__bias": None}, "lacks 1 weights of this architecture, such as g_a.0.bias"),
        ({"g_x__bias": torch.zeros(3)}, "another architecture, such as g_x.bias"),
        ({"g_a__0__bias": torch.zeros(3)}, r"has shape \(3,\), its configuration asks for \(12,\)"),
        ({"g_a__0__bias": torch.full((12,), float("nan"))}, "holds NaN"),
    ],
)
def test_wrong_weights_are_named(copy: Path, changes: dict[str, torch.Tensor | None], match: str) -> None:
    _edit(copy, **changes)
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(copy)


def test_damaged_files_are_named(copy: Path) -> None:
    (copy / WEIGHTS).write_bytes((copy / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_checkpoint(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_checkpoint(copy)
    (copy / "config.json").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        load_checkpoint(copy)
