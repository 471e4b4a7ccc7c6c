from __future__ import annotations

from pathlib import Path

import pytest
from hyvic_export.cli import main
from hyvic_train.checkpoint import save_checkpoint, weights
from hyvic_train.config import config_from_json
from hyvic_train.model_family import model_from_config


def test_a_family_without_graphs_is_not_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"family": "joint", "bands": 8, "latent_channels": 12, "feature_channels": 10, "hyperlatent_channels": 6}
    model |= {"slices": 3, "slice_channels": 8, "spatial_stages": 1, "attention_block": 4}
    config = config_from_json({"model": model, "optimisation": {"lmbda": 1e-4}, "data": {"crop": 16}})
    save_checkpoint(tmp_path / "joint", weights(model_from_config(config.model)), config, 1, {})
    assert main(["--checkpoint", str(tmp_path / "joint"), "--out", str(tmp_path / "bundle"), "--tile", "16"]) == 1
    error = capsys.readouterr().err
    assert "of the family joint, which export-engine has no graphs for" in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "bundle").exists()
