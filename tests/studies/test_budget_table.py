"""Budgets on a real scene, far beyond the rates that the model was trained for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from studies.budget_table import main


@pytest.mark.slow
def test_budgets_are_kept_and_used_on_indian_pines_or_refused(
    shipped_bundle: Path, indian_pines: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "scene.npz", cube=indian_pines)
    table = tmp_path / "table.md"

    arguments = ["--bundle", str(shipped_bundle), "--ratios", "32", "1024", "100000", "--out", str(table), "--json"]
    assert main([str(tmp_path / "scene.npz"), *arguments]) == 0

    *met, refused = json.loads(capsys.readouterr().out)["rows"]
    for row, ratio in zip(met, (32, 1024), strict=True):
        assert row["budget"] == indian_pines.nbytes // ratio
        assert 0.97 * row["budget"] <= row["octets"] <= row["budget"]
    assert met[0]["quality"] > 100
    assert met[1]["quality"] < 0
    assert met[0]["psnr_db"] > met[1]["psnr_db"] + 5
    assert refused["octets"] is None
    assert "2 of 3 budgets can be met" in table.read_text()
