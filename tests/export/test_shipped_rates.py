"""The shipped model at the ratios that its documents name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.flight.rate_search import RateSearch
from hyvic_runtime.scene.scene import Scene


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [100, 256, 450])
def test_the_shipped_codec_meets_a_ratio(
    shipped_bundle: Path, indian_pines: np.ndarray, tmp_path: Path, ratio: int
) -> None:
    scene = Scene(cube=indian_pines)
    writer = RateSearch(encoder=LatentRowEncoder(read_bundle(shipped_bundle)), scene=scene, folder=tmp_path)
    budget = scene.cube.nbytes // ratio
    assert 0.97 * budget <= writer.within(budget).octets <= budget
