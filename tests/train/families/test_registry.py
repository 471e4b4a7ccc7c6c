"""Two families behind one configuration, one loop and one checkpoint format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hyvic_train.checkpoint import CheckpointError
from hyvic_train.cli import main
from hyvic_train.config import ConfigError, json_from_config
from hyvic_train.families.latent.checkpoint import load_checkpoint, model_from_config, read_checkpoint_config
from hyvic_train.families.latent.config import config_from_json
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.joint_codec import JointCodec
from hyvic_train.families.latent.model_config import HyVICConfig, JointConfig
from hyvic_train.families.latent.pretrained import load_pretrained
from hyvic_train.families.registry import run_config_from_json
from scenes import SHIPPED_CHECKPOINT, smooth_cube

JOINT = {
    "family": "joint",
    "bands": 8,
    "latent_channels": 12,
    "feature_channels": 10,
    "hyperlatent_channels": 6,
    "slices": 3,
    "slice_channels": 8,
    "extraction_blocks": 1,
    "spatial_stages": 1,
    "attention_block": 4,
    "rates": 2,
}
CONFIG = {
    "model": JOINT,
    "optimisation": {
        "lmbda": [1e-4, 1e-3],
        "steps": 6,
        "batch_size": 2,
        "klt_step": 30,
        "checkpoint_every": 3,
        "integer_path_steps": 2,
    },
    "data": {"crop": 16, "validation": ["v*"], "remove_mean_spectrum": True},
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "scenes").mkdir()
    for name in ("a", "b", "v"):
        np.savez(tmp_path / "scenes" / f"{name}.npz", cube=smooth_cube(24, 20, 8, ord(name)))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def _train(workspace: Path, out: str, *extra: str) -> int:
    config, scenes = str(workspace / "config.yaml"), str(workspace / "scenes")
    return main([config, "--data", scenes, "--out", str(workspace / out), "--json", *extra])


def _optimisation() -> dict[str, Any]:
    return {"lmbda": 1e-4}


def test_a_joint_codec_is_trained_resumed_and_read_back(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _train(workspace, "whole") == 0
    result = json.loads(capsys.readouterr().out)
    assert [sorted(point["scenes"]) for point in result["validation"]] == [["v"], ["v"]]
    loaded = load_checkpoint(workspace / "whole")
    assert isinstance(loaded.model, JointCodec)
    assert loaded.config.model == JointConfig(**JOINT)  # type: ignore[arg-type]
    assert all(peak.any() for peak in loaded.model.peaks.values())

    calls: list[int] = []
    original = JointCodec.aux_loss

    def interrupted(model: JointCodec) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(model)

    monkeypatch.setattr(JointCodec, "aux_loss", interrupted)
    assert _train(workspace, "half") == 130
    monkeypatch.undo()
    assert _train(workspace, "half", "--resume") == 0
    whole, half = ((workspace / out / "model.safetensors").read_bytes() for out in ("whole", "half"))
    assert whole == half
    logs = [(workspace / out / "log.jsonl").read_text() for out in ("whole", "half")]
    assert logs[0] == logs[1]


def test_a_joint_codec_is_trained_with_transforms_in_bfloat16(workspace: Path) -> None:
    assert _train(workspace, "out", "--set", "optimisation.precision=bf16-mixed") == 0
    entries = [json.loads(line) for line in (workspace / "out" / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(entry["mse"]) for entry in entries)


def test_a_document_without_a_family_is_hyvics_and_hyvics_names_none() -> None:
    config = read_checkpoint_config(SHIPPED_CHECKPOINT)
    document = json.loads((SHIPPED_CHECKPOINT / "config.json").read_text())
    assert "family" not in document["model"]
    assert isinstance(config.model, HyVICConfig)
    assert isinstance(load_checkpoint(SHIPPED_CHECKPOINT).model, HyVIC)
    written = json_from_config(config)
    assert document["model"].items() <= written["model"].items()
    assert "family" not in written["model"]
    document["model"]["family"] = "hyvic"
    assert config_from_json(document) == config


def test_a_joint_codecs_document_names_its_family_and_comes_back() -> None:
    config = config_from_json({"model": {"family": "joint", "bands": 8}, "optimisation": _optimisation()})
    assert json_from_config(config)["model"]["family"] == "joint"
    assert config_from_json(json_from_config(config)) == config
    assert isinstance(model_from_config(JointConfig(**JOINT)), JointCodec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "match"),
    [
        ({"family": "wavelet", "bands": 8}, "model.family is wavelet; it must be hyvic, joint or adaptive"),
        ({"family": "joint", "bands": 8, "colour": 1}, r"model\.colour: Unexpected keyword"),
        ({"family": "joint"}, r"model\.bands: Field required"),
        ({"family": "joint", "bands": 8, "slices": 3}, "slices is 3; it must divide latent_channels, 320"),
        ({"family": "joint", "bands": 8, "attention_block": 3}, "attention_block is 3; it must be 2, 4, 8 or 16"),
        ({"family": "joint", "bands": 8, "kernel_size": 4}, "kernel_size is 4"),
        ({"family": "joint", "bands": 8, "slice_kernel_size": 2}, "slice_kernel_size is 2; it must be odd"),
        ({"family": "joint", "bands": 8, "extraction_blocks": -1}, "extraction_blocks is -1"),
        ({"family": "joint", "bands": 8, "feature_channels": 0}, "feature_channels is 0; it must lie in 1..65536"),
        ({"bands": 8, "latent_channels": 10, "hyperlatent_channels": 6, "slices": 2}, r"model\.slices: Unexpected"),
        (3, "model: Input should be a dictionary"),
    ],
)
def test_a_model_section_of_no_family_is_named(model: object, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        run_config_from_json({"model": model, "optimisation": _optimisation()})


def test_a_crop_holds_whole_blocks_of_attention() -> None:
    document = {"model": {"family": "joint", "bands": 8}, "optimisation": _optimisation(), "data": {"crop": 64}}
    with pytest.raises(ConfigError, match=r"data\.crop is 64; .* a multiple of 128"):
        config_from_json(document)


def test_weights_of_another_family_are_refused(workspace: Path, tiny_checkpoint: Path) -> None:
    model = model_from_config(JointConfig(**JOINT))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"another model\.family, hyvic"):
        load_pretrained(model, tiny_checkpoint)
    torch.save({}, workspace / "model.pth")
    with pytest.raises(CheckpointError, match="CompressAI has no model of this family"):
        load_pretrained(model, workspace / "model.pth")


def test_a_joint_codec_starts_from_one_of_other_rates(workspace: Path) -> None:
    assert _train(workspace, "out", "--set", "optimisation.steps=2") == 0
    expected = load_checkpoint(workspace / "out").model
    model = model_from_config(JointConfig(**{**JOINT, "rates": 1}))  # type: ignore[arg-type]
    load_pretrained(model, workspace / "out")
    assert torch.equal(model.state_dict()["slices.latent_peak"], expected.state_dict()["slices.latent_peak"])
    assert torch.equal(model.g_a[1].weight, expected.g_a[1].weight)  # type: ignore[arg-type]
