from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_export.precision import Precision
from scenes import BANDS, smooth_cube
from studies.bundle_table import main


def test_a_bundle_beside_itself_is_equal_and_a_coarser_one_is_not(
    tmp_path: Path, exported_bundle: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = tmp_path / "field.npz"
    np.savez(scene, cube=smooth_cube(64, 64, BANDS), wavelengths=np.linspace(420, 2450, BANDS))
    bundle_from_checkpoint(tiny_checkpoint, tmp_path / "int8", tile=32, precision=Precision.INT8, scenes=[scene])
    out = tmp_path / "table.md"
    bundles = [str(exported_bundle), str(exported_bundle), str(tmp_path / "int8")]
    assert main([str(scene), "--bundle", *bundles, "--out", str(out), "--json"]) == 0
    first, same, coarser = json.loads(capsys.readouterr().out)["curves"]
    assert first["bd_psnr_db"] == same["bd_psnr_db"] == 0
    assert first["curve"] == same["curve"] != coarser["curve"]
    assert coarser["precision"] == "int8"
    assert 0 < abs(coarser["bd_psnr_db"]) < 1
    assert first["curve"]["ratios"] == sorted(first["curve"]["ratios"])
    rows = out.read_text().splitlines()
    assert len(rows) == 2 + 3
    assert rows[-1].endswith(f"| {coarser['bd_psnr_db']:+.3f} dB |")


def test_another_sensors_scene_is_one_line(
    tmp_path: Path, exported_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "other.npy", smooth_cube(16, 16, 7))
    arguments = [str(tmp_path / "other.npy"), "--bundle", str(exported_bundle), "--out", str(tmp_path / "t.md")]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "7 bands and the bundle codes 20" in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "t.md").exists()
