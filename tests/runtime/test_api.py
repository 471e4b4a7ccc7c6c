"""The public interface: names, and scenes encoded and decoded in memory."""

from __future__ import annotations

from pathlib import Path

import hyvic_runtime
import numpy as np
import pytest
from hyvic_runtime import Quality, RateError, Scene, decode, encode, encoder_of, read_bundle, scene_stream
from hyvic_runtime.support.metrics import psnr
from scenes import BANDS, smooth_cube


def test_every_public_name_is_there_and_described() -> None:
    assert set(hyvic_runtime.__all__) <= set(dir(hyvic_runtime))
    for name in set(hyvic_runtime.__all__) - {"__version__"}:
        assert getattr(hyvic_runtime, name).__doc__, name
    assert hyvic_runtime.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="has no attribute 'encoder'"):
        hyvic_runtime.encoder  # noqa: B018


@pytest.mark.parametrize("family", ["tiny_bundle", "tiny_adaptive_bundle"])
def test_a_cube_comes_back_at_the_rate_asked_for(family: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(family)
    cube = smooth_cube(40, 50, BANDS)
    bundle = read_bundle(folder)
    by_quality = encode(cube, bundle, quality=70)
    assert by_quality == scene_stream(encoder_of(bundle), Scene(cube=cube), quality=70)
    assert len(encode(cube, folder, quality=0)) < len(by_quality)
    decoded = decode(by_quality, folder)
    assert decoded.scene.cube.shape == cube.shape
    assert (decoded.quality == Quality.EXACT).all()

    assert len(encode(cube, bundle, max_bytes=len(by_quality))) <= len(by_quality)
    assert len(encode(cube, bundle, target_ratio=20)) <= cube.nbytes / 20
    wanted = psnr(cube, decoded.scene.cube, bundle.manifest.peak) - 1
    enough = decode(encode(cube, bundle, min_psnr=wanted), bundle).scene.cube
    assert psnr(cube, enough, bundle.manifest.peak) >= wanted


def test_a_rate_that_cannot_be_is_refused(tiny_adaptive_bundle: Path) -> None:
    cube = smooth_cube(40, 50, BANDS)
    with pytest.raises(ValueError, match="quality and max_bytes are given; choose one rate"):
        encode(cube, tiny_adaptive_bundle, quality=10, max_bytes=1000)
    with pytest.raises(ValueError, match="target_ratio is -1; a positive number is needed"):
        encode(cube, tiny_adaptive_bundle, target_ratio=-1)
    with pytest.raises(RateError, match="the budget is 10 octets"):
        encode(cube, tiny_adaptive_bundle, max_bytes=10)
    assert np.array_equal(cube, smooth_cube(40, 50, BANDS))
