"""Borders between tiles, on a real scene."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hyvic_export.exporter import bundle_from_checkpoint
from scenes import ROOT, smooth_cube
from studies.border_table import main, near_borders


def test_pixels_within_eight_of_a_border_between_tiles_are_beside_it() -> None:
    border = near_borders((40, 70), tile=32)

    assert np.flatnonzero(border[0]).tolist() == [*range(24, 40), *range(56, 70)]
    assert border[24:].all()
    assert not border[:24, :24].any()
    assert not near_borders((32, 32), tile=32).any()
    assert np.array_equal(near_borders((40, 70), tile=32, rows_only=True), np.outer(border[:, 0], np.ones(70, bool)))


@pytest.mark.slow
def test_rows_of_scene_adaptive_tiles_are_measured_on_mirrored_scenes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "scene.npz", cube=smooth_cube(40, 20, 9))
    for tile in (32, 64):
        bundle_from_checkpoint(ROOT / "checkpoints" / "adaptive", tmp_path / f"{tile}.bundle", tile=tile)

    arguments = ["--bundle", str(tmp_path / "32.bundle"), "--whole", str(tmp_path / "64.bundle"), "--mirror-to", "64"]
    arguments += ["--qualities", "40", "--out", str(tmp_path / "table.md"), "--json"]
    assert main([str(tmp_path / "scene.npz"), *arguments]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert -3 < row["border_db"] - row["whole_border_db"] < 0.5


@pytest.mark.slow
def test_borders_do_not_show_on_indian_pines(
    shipped_bundle: Path, indian_pines: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "scene.npz", cube=indian_pines[:128, :128])
    bundle_from_checkpoint(ROOT / "checkpoints" / "hyvic-s-202", tmp_path / "64.bundle", tile=64)

    arguments = ["--bundle", str(tmp_path / "64.bundle"), "--whole", str(shipped_bundle)]
    assert main([str(tmp_path / "scene.npz"), *arguments, "--out", str(tmp_path / "table.md"), "--json"]) == 0

    # What lies beside a border may be easier or harder than what does not, by 0.8 dB here, however it is cut.
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    effect = (row["border_db"] - row["interior_db"]) - (row["whole_border_db"] - row["whole_interior_db"])
    assert abs(effect) < 0.05
