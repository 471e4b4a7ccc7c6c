from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hyvic_runtime.errors import SceneError
from hyvic_train.config import BandRange, DataConfig, HyVICConfig
from hyvic_train.data import NamedCube, crops, read_split

MODEL = HyVICConfig(bands=3, latent_channels=5, hyperlatent_channels=4, spatial_stages=0)


def _scene(bands: int, height: int = 8, width: int = 9) -> np.ndarray:
    ramp = np.arange(bands, dtype=np.uint16) * 100
    return np.broadcast_to(ramp, (height, width, bands)).copy()


def test_scenes_of_other_sensors_reach_the_models_grid(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", cube=_scene(5), wavelengths=np.array([400.0, 500, 600, 700, 800]))
    np.savez(tmp_path / "named.npz", cube=_scene(9))
    config = DataConfig(
        wavelengths=(450.0, 650.0, 900.0), source_wavelengths={"named*": BandRange(start=400, stop=800)}, crop=4
    )
    split = read_split([tmp_path], config, model=MODEL)
    assert [s.name for s in split.training] == ["named", "own"]
    named, own = (s.cube[:, 0, 0].tolist() for s in split.training)
    # Linear ramps: 100 per 100 nm, and 100 per 50 nm; the outermost band repeats beyond the range.
    assert own == [50, 250, 400]
    assert named == [100, 500, 800]


def test_every_scene_that_does_not_fit_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", cube=_scene(4))
    np.savez(tmp_path / "small.npz", cube=_scene(3, 2, 2))
    np.savez(tmp_path / "good.npz", cube=_scene(3))
    with pytest.raises(SceneError, match=r"few\.npz.*4 bands.*small\.npz.*2×2 pixels, at least 4×4"):
        read_split([tmp_path], DataConfig(crop=4), model=MODEL)


def test_a_scene_too_small_to_measure_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", cube=_scene(3))
    np.savez(tmp_path / "v.npz", cube=_scene(3, 3, 9))
    with pytest.raises(SceneError, match=r"v\.npz.*3×9 pixels, at least 4×4"):
        read_split([tmp_path], DataConfig(crop=8, validation=("v*",)), model=MODEL)


def test_an_empty_folder_is_no_training_set(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="no scene to train on"):
        read_split([tmp_path], DataConfig(crop=4), model=MODEL)


def test_the_split_is_by_scene(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        np.savez(tmp_path / f"{name}.npz", cube=_scene(3))
    split = read_split([tmp_path], DataConfig(crop=4, validation=("b*",), exclude=("c*",)), model=MODEL)
    assert [s.name for s in split.training] == ["a"]
    assert [s.name for s in split.validation] == ["b"]


def test_crops_depend_on_seed_and_step_alone() -> None:
    rng = np.random.default_rng(0)
    scenes = [NamedCube(name="s", cube=rng.random((3, 12, 14)).astype(np.float32))]
    config = DataConfig(crop=4, spectral_gain=0.3)
    batch = crops(scenes, count=5, config=config, seed=1, step=7)
    assert np.array_equal(batch, crops(scenes, count=5, config=config, seed=1, step=7))
    assert not np.array_equal(batch, crops(scenes, count=5, config=config, seed=1, step=8))


def test_augmentation_keeps_spectra_of_pixels_together() -> None:
    cube = np.stack([np.arange(144.0).reshape(12, 12), 1000 + np.arange(144.0).reshape(12, 12)]).astype(np.float32)
    batch = crops([NamedCube(name="s", cube=cube)], count=20, config=DataConfig(crop=4), seed=0, step=0)
    assert np.array_equal(batch[:, 1] - batch[:, 0], np.full((20, 4, 4), 1000, np.float32))
