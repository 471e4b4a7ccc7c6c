"""Parts of a stream, dropped from its end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import psnr
from scenes import BANDS, smooth_cube
from studies.progressive_table import main


@pytest.mark.parametrize(("family", "parts"), [("hyvic", 1), ("joint", 3)])
def test_every_number_of_parts_is_measured_and_all_of_them_are_the_stream(
    family: str,
    parts: int,
    tiny_bundle: Path,
    tiny_joint_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = {"hyvic": tiny_bundle, "joint": tiny_joint_bundle}[family]
    cubes = [smooth_cube(40, 50, BANDS, seed) for seed in (1, 2)]
    paths = []
    for number, cube in enumerate(cubes):
        paths.append(str(tmp_path / f"{number}.npy"))
        np.save(paths[-1], cube)
    words = [*paths, "--bundle", str(folder), "--quality", "80", "--out", str(tmp_path / "table.md")]
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["scene"], row["parts"], row["of"]) for row in rows] == [
        (scene, part, parts) for scene in ("0", "1") for part in range(parts + 1)
    ]
    bundle = read_bundle(folder)
    for number, cube in enumerate(cubes):
        own = [row for row in rows if row["scene"] == str(number)]
        assert [row["octets"] for row in own] == sorted(row["octets"] for row in own)
        stream = scene_stream(LatentRowEncoder(bundle), Scene(cube=cube), quality=80)
        assert own[-1]["psnr_db"] == psnr(cube, LatentDecoder(bundle).decode(stream).scene.cube, bundle.manifest.peak)
        # Not that every part helps, which no random model promises; all of them do.
        assert own[-1]["psnr_db"] > own[0]["psnr_db"]
    table = (tmp_path / "table.md").read_text()
    assert f"| 1 | {parts} of {parts} | 1.00 |" in table
    assert (tmp_path / "table.svg").read_text().count("<svg") == 1
    before = (tmp_path / "table.svg").read_bytes()
    assert main(words) == 0
    assert (tmp_path / "table.svg").read_bytes() == before
