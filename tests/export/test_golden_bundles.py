"""The way from training to packets, with fresh models; and what the golden bundles have in common with fresh ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from coded_scenes import stream_of
from hyvic_runtime.codec.bundle_files import MANIFEST
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from scenes import BANDS, smooth_cube

FRESH = ["exported_bundle", "exported_joint_bundle", "exported_adaptive_bundle"]
GOLDEN = ["tiny_bundle", "tiny_joint_bundle", "tiny_adaptive_bundle"]


@pytest.mark.parametrize("fresh", FRESH)
def test_a_scene_comes_back_from_a_bundle_that_was_trained_and_exported_here(
    fresh: str, request: pytest.FixtureRequest
) -> None:
    bundle = read_bundle(request.getfixturevalue(fresh))
    cube = smooth_cube(45, 71, BANDS, seed=11)
    decoded = decoder_of(bundle).decode(stream_of(encoder_of(bundle), cube))
    assert (decoded.quality == Quality.EXACT).all()
    assert np.abs(cube.astype(int) - decoded.scene.cube).mean() < 40


@pytest.mark.parametrize(("fresh", "golden"), list(zip(FRESH, GOLDEN, strict=True)))
def test_a_golden_bundle_has_the_form_of_a_fresh_one(fresh: str, golden: str, request: pytest.FixtureRequest) -> None:
    folders = [Path(request.getfixturevalue(name)) for name in (fresh, golden)]
    names = [{path.name for path in folder.iterdir()} for folder in folders]
    assert names[0] == names[1]
    documents = [json.loads((folder / MANIFEST).read_text()) for folder in folders]
    assert documents[0].keys() == documents[1].keys()
    for name in documents[0].keys() - {"sha256", "provenance", "files", "extras", "conformance", "coder_sha256"}:
        assert documents[0][name] == documents[1][name]
