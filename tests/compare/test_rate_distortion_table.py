from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hyvic_compare.rate_distortion_table import main
from hyvic_runtime import cli
from scenes import BANDS, smooth_cube


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    np.savez(tmp_path / "field.npz", cube=smooth_cube(64, 64, BANDS))
    return tmp_path / "field.npz"


def test_all_codecs_stand_at_the_ratio_of_the_bundles_packets(
    scene: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = tmp_path / "packets"
    assert cli.encode_scene([str(scene), "--bundle", str(tiny_bundle), "--out", str(stream)]) == 0
    capsys.readouterr()
    out = tmp_path / "table.md"
    assert main([str(scene), "--bundle", str(tiny_bundle), "--out", str(out), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["quality"] for row in rows] == [0, 25, 50, 75, 100]
    assert [row["compression_ratio"] for row in rows] == sorted((r["compression_ratio"] for r in rows), reverse=True)
    row = rows[2]  # encode-scene's default
    ours, *others = row["entries"]
    assert ours["octets"] == stream.stat().st_size
    assert row["compression_ratio"] == pytest.approx(64 * 64 * BANDS * 2 / ours["octets"])
    assert [entry["codec"] for entry in others] == ["JPEG 2000", "PCA", "PCA + JPEG 2000"]
    for entry in others:
        if entry["gap"] is None:
            # One bit a pixel, PCA's grain, is 512 octets of this small scene's 3,000.
            assert ours["octets"] - 600 < entry["octets"] <= ours["octets"]
        else:
            assert "ask for a lower ratio" in entry["gap"]
    line = [line for line in out.read_text(encoding="utf-8").splitlines() if line.startswith("| field |")][2]
    assert f"{row['compression_ratio']:.1f}" in line
    assert line.count("**") == 2


def test_a_scene_of_other_bands_stops_before_any_work(
    scene: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "other.npz", cube=smooth_cube(16, 16, BANDS + 1))
    out = tmp_path / "table.md"
    assert main([str(scene), str(tmp_path / "other.npz"), "--bundle", str(tiny_bundle), "--out", str(out)]) == 1
    assert "other.npz: the scene has 21 bands and the bundle codes 20" in capsys.readouterr().err
    assert not out.exists()
