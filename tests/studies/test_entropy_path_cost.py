from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hyvic_compare import indian_pines
from hyvic_export.frequency_tables import Distribution, frequency_tables, table_bits
from scenes import BANDS, SHIPPED_CHECKPOINT, smooth_cube
from studies import entropy_path_cost


def test_table_bits_count_escapes_in_full() -> None:
    tables = frequency_tables([Distribution(first=-1, mass=np.array([0.25, 0.5, 0.125]))])  # 1/8 left to the escape
    bits = table_bits(tables, np.array([0, -1, 1, 900]), np.zeros(4, np.intp))
    assert bits == pytest.approx(1 + 2 + 3 + (3 + 16))


def test_every_step_is_told(tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wavelengths = np.linspace(420, 2450, BANDS)
    np.savez(tmp_path / "s.npz", cube=smooth_cube(70, 50, BANDS, seed=9), wavelengths=wavelengths)
    arguments = [str(tmp_path / "s.npz"), "--checkpoint", str(tiny_checkpoint), "--out", str(tmp_path / "t.md")]
    assert entropy_path_cost.main([*arguments, "--json"]) == 0
    costs = json.loads(capsys.readouterr().out)["costs"]
    assert [cost["level"] for cost in costs] == [0, 1, 2]
    for cost in costs:
        assert cost["lost"] == pytest.approx(cost["stream"] / cost["float_model"] - 1)
        # The coder adds the last word of its state and the count of escapes, to ẑ's unit and to y's.
        assert 0 < cost["stream"] - cost["tables"] < 2 * (32 + 64)
    assert "| 63 | 256.000 |" in (tmp_path / "t.md").read_text()


def test_the_shipped_model_loses_less_than_half_a_percent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert indian_pines.main([str(tmp_path / "s.npz")]) == 0
    arguments = [str(tmp_path / "s.npz"), "--checkpoint", str(SHIPPED_CHECKPOINT), "--out", str(tmp_path / "t.md")]
    capsys.readouterr()
    assert entropy_path_cost.main([*arguments, "--json"]) == 0
    costs = json.loads(capsys.readouterr().out)["costs"]
    assert len(costs) == 4
    assert all(abs(cost["lost"]) < 0.005 for cost in costs)
