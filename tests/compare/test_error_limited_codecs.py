from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from ccsds123 import BlockAdaptive, EntropyCoder, Hybrid, SampleAdaptive
from hyvic_compare.codecs.ccsds123 import Ccsds123Lossless, Ccsds123NearLossless
from hyvic_compare.codecs.codec import Codec, LosslessCodec, octet_budget
from hyvic_compare.codecs.jpeg_ls import JpegLsLossless, JpegLsNearLossless
from hyvic_compare.errors import TargetRatioError
from hyvic_runtime.scene.scene import SUPPORTED_DTYPES, Scene
from scenes import smooth_cube

CODERS: tuple[EntropyCoder, ...] = (Hybrid(), BlockAdaptive(), SampleAdaptive())
LOSSLESS: tuple[LosslessCodec, ...] = (*(Ccsds123Lossless(coder=coder) for coder in CODERS), JpegLsLossless())
LOSSY: tuple[Codec, ...] = (*(Ccsds123NearLossless(coder=coder) for coder in CODERS), JpegLsNearLossless())


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(cube=smooth_cube(60, 52, 24))


@pytest.mark.parametrize("codec", LOSSLESS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("dtype", SUPPORTED_DTYPES, ids=str)
def test_a_lossless_codec_gives_back_every_sample(codec: LosslessCodec, dtype: np.dtype[Any]) -> None:
    info = np.iinfo(dtype)
    cube = np.random.default_rng(6).integers(info.min, info.max, (9, 13, 5), dtype=dtype, endpoint=True)
    decoded = codec.decode(codec.encode_losslessly(Scene(cube=cube)))
    assert decoded.dtype == dtype
    assert np.array_equal(decoded, cube)


@pytest.mark.parametrize("codec", LOSSY, ids=lambda codec: codec.name)
def test_a_target_below_what_lossless_takes_loses_nothing(codec: Codec, scene: Scene) -> None:
    assert np.array_equal(codec.decode(codec.encode(scene, 1.2)), scene.cube)


@pytest.mark.parametrize("codec", LOSSY, ids=lambda codec: codec.name)
def test_errors_grow_with_the_target_and_the_budget_is_kept(codec: Codec, scene: Scene) -> None:
    largest = []
    for ratio in (4, 6, 9):
        stream = codec.encode(scene, ratio)
        assert len(stream) <= octet_budget(scene, ratio)
        largest.append(int(np.abs(codec.decode(stream).astype(int) - scene.cube).max()))
    # The noise of 8 digital numbers is what stands in the way of 9 to 1: some three of its deviations.
    assert 0 < largest[0] < largest[1] < largest[2] < 100


@pytest.mark.parametrize("codec", LOSSY[:3], ids=lambda codec: codec.name)
def test_a_ratio_out_of_reach_is_said_after_one_trial(
    codec: Codec, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hyvic_compare.codecs import ccsds123

    trials = []
    compress = ccsds123.compress
    monkeypatch.setattr(ccsds123, "compress", lambda *arguments: trials.append(0) or compress(*arguments))
    monkeypatch.setattr(ccsds123, "match_ratio", None)
    with pytest.raises(TargetRatioError, match=r"CR 5000 allows 29 octets and the shortest stream found takes \d+"):
        codec.encode(scene, 5000)
    assert len(trials) == 1


def test_jpeg_ls_takes_the_smallest_limit_that_keeps_the_budget(scene: Scene) -> None:
    """A band's file says NEAR (ISO/IEC 14495-1, C.2.3); one less gives too long a stream, by imagecodecs alone."""
    stream = JpegLsNearLossless().encode(scene, 4)
    near = int(np.abs(JpegLsNearLossless().decode(stream).astype(int) - scene.cube).max())
    bands = np.moveaxis(scene.cube, 2, 0)

    def octets(level: int) -> int:
        return 19 + sum(4 + len(imagecodecs.jpegls_encode(np.ascontiguousarray(b), level=level)) for b in bands)

    assert octets(near) == len(stream) <= octet_budget(scene, 4)
    assert octets(near - 1) > octet_budget(scene, 4)


@pytest.mark.parametrize("shape", [(50, 1, 3), (1, 1, 1)], ids=str)
def test_a_scene_of_one_sample_a_line_is_coded(shape: tuple[int, int, int]) -> None:
    scene = Scene(cube=np.random.default_rng(3).integers(0, 9000, shape, dtype=np.int16))
    for codec in LOSSLESS:
        assert np.array_equal(codec.decode(codec.encode_losslessly(scene)), scene.cube)
    for codec in LOSSY:
        assert codec.decode(codec.encode(scene, 0.01)).shape == shape


def test_an_identity_tells_settings_apart() -> None:
    identities = [codec.identity for codec in (*LOSSLESS, *LOSSY)]
    assert len(set(identities)) == len(identities)
    assert len({codec.name for codec in (*LOSSLESS, *LOSSY)}) == len(identities)
