from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hyvic_runtime.errors import SceneError
from hyvic_train.config import DataConfig
from hyvic_train.data.crops import crops
from hyvic_train.data.data_set import read_split
from hyvic_train.families.latent.model_config import HyVICConfig

io = pytest.importorskip("scipy.io")

MODEL = HyVICConfig(bands=369, latent_channels=5, hyperlatent_channels=4)
CONFIG = DataConfig(dataset="mlretset", crop=96)
SHAPE = (100, 100, 369)


def _reflectances(seed: int) -> np.ndarray:
    """(line, sample, band) float64; what is cheap to write and differs in every pixel and band."""
    rng = np.random.default_rng(seed)
    return (rng.random((100, 100, 1)) + rng.random(369)) / 2


def _write_splits(root: Path, **names: list[str]) -> None:
    (root / "splits").mkdir(exist_ok=True)
    for split, lines in names.items():
        (root / "splits" / f"{split}.csv").write_text("\n".join(lines))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    io.savemat(tmp_path / "data" / "0001_forest.mat", {"img": _reflectances(1)})
    np.save(tmp_path / "data" / "0002_road.npy", _reflectances(2))
    _write_splits(tmp_path, train=["0001_forest.mat"], val=["0002_road.mat"])
    return tmp_path


def test_patches_are_the_centre_in_digital_numbers_band_first(folder: Path) -> None:
    split = read_split([folder], CONFIG, MODEL)
    for patch, seed in ((split.training[0], 1), (split.validation[0], 2)):
        expected = np.rint(10_000 * _reflectances(seed)[2:98, 2:98]).transpose(2, 0, 1)
        # A product in float32 may round a half the other way.
        assert np.abs(patch.cube - expected).max() <= 1
        assert patch.cube.shape == (369, 96, 96)


def test_the_no_data_value_of_a_run_does_not_change_the_hash_of_a_patch(folder: Path) -> None:
    stored = _reflectances(2)
    stored[5, 5] = -1
    np.save(folder / "data" / "0002_road.npy", stored)
    hashes = []
    for no_data in (None, -1):
        (patch,) = read_split([folder], replace(CONFIG, no_data=no_data), MODEL).validation
        hashes.append((patch.cube.shape, patch.read_sha256))
    assert hashes[0][0] != hashes[1][0]
    assert hashes[0][1] == hashes[1][1]


def test_an_array_beside_the_matlab_file_gives_the_same_crops(folder: Path) -> None:
    config = replace(CONFIG, crop=32, gain=0.1)

    def batch() -> np.ndarray:
        return crops(read_split([folder], config, MODEL).training, count=2, config=config, seed=1, step=1)

    first = batch()
    np.save(folder / "data" / "0001_forest.npy", _reflectances(1))
    (folder / "data" / "0001_forest.mat").write_bytes(b"never read again")
    assert np.array_equal(batch(), first)


def test_no_data_reaches_no_crop(folder: Path) -> None:
    stored = np.full(SHAPE, 500, np.int16)
    stored[:, 70:, 11] = -999
    np.save(folder / "data" / "0001_forest.npy", stored)
    marked = replace(CONFIG, crop=64, no_data=-999)
    split = read_split([folder], marked, MODEL)
    assert (crops(split.training, count=4, config=marked, seed=0, step=0) == 500).all()
    assert split.training[0].cube.shape == (369, 96, 68)
    floats = np.where(stored == -999, np.nan, 0.05)
    np.save(folder / "data" / "0001_forest.npy", floats)
    config = replace(CONFIG, crop=64)
    assert (crops(read_split([folder], config, MODEL).training, count=4, config=config, seed=0, step=0) == 500).all()


def test_every_problem_of_the_set_is_reported_at_once(folder: Path) -> None:
    io.savemat(folder / "data" / "0003_few.mat", {"img": np.zeros((100, 100, 12))})
    io.savemat(folder / "data" / "0004_two.mat", {"a": np.zeros((2, 2, 2)), "b": np.zeros((2, 2, 2))})
    np.save(folder / "data" / "0005_bright.npy", np.full(SHAPE, 300.0, np.float32))
    (folder / "data" / "0006_broken.mat").write_bytes(b"no MATLAB file" * 20)
    names = [path.name for path in sorted((folder / "data").iterdir())]
    _write_splits(folder, train=[*names[:-1], "0009_gone.mat"])
    (folder / "splits" / "val.csv").unlink()
    with pytest.raises(SceneError) as caught:
        read_split([folder], replace(CONFIG, exclude=("0006*",)), MODEL)
    message = str(caught.value)
    for part in (
        "val.csv is missing; it lists one patch a line; set data.split to random",
        "1 of 6 patches are missing: 0009_gone.mat",
        "0003_few.mat: shape (100, 100, 12), (100, 100, 369)",
        "0004_two.mat: holds 2 arrays with 3 axes",
        "0005_bright.npy: its floating-point values reach 300, reflectances 2",
    ):
        assert part in message, part
    _write_splits(folder, train=["0006_broken.mat"], val=["0002_road.mat"])
    with pytest.raises(SceneError, match=r"0006_broken\.mat: not a readable '\.mat' file"):
        read_split([folder], CONFIG, MODEL)


def test_the_random_split_is_that_of_every_machine(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(20):
        np.lib.format.open_memmap(tmp_path / "data" / f"{number:04d}_x.npy", "w+", dtype=np.int16, shape=SHAPE)
    split = read_split([tmp_path], replace(CONFIG, split="random"), MODEL)
    assert (len(split.training), len(split.validation)) == (14, 4)
    assert [patch.name for patch in split.validation] == ["0011_x", "0019_x", "0006_x", "0010_x"]
    with pytest.raises(SceneError, match=r"holds no \.mat or \.npy file"):
        read_split([tmp_path / "data"], replace(CONFIG, split="random"), MODEL)
