from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hyspecnet_folder import patch_entry, write_splits
from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene.content_hash import content_sha256
from hyvic_train.config import DataConfig
from hyvic_train.data.crops import crops
from hyvic_train.data.data_set import read_split
from hyvic_train.data.hyspecnet import DROPPED_BANDS, KEPT_BANDS
from hyvic_train.families.latent.model_config import HyVICConfig
from hyvic_train.training_data import TrainingData

rasterio = pytest.importorskip("rasterio")

MODEL = HyVICConfig(bands=202, latent_channels=5, hyperlatent_channels=4)
CONFIG = DataConfig(dataset="hyspecnet-11k")
NO_DATA = -32768


def _original(seed: int) -> np.ndarray:
    """(224, 128, 128) int16 as EnMAP delivers it: reflectances below 0 and above 1, dropped bands without data."""
    cube = np.random.default_rng(seed).integers(-500, 10_500, (224, 128, 128), dtype=np.int16)
    cube[np.array(DROPPED_BANDS) - 1] = NO_DATA
    return cube


def _write_original(root: Path, entry: str, cube: np.ndarray) -> None:
    path = root / "patches" / entry.replace("-DATA.npy", "-SPECTRAL_IMAGE.TIF")
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": len(cube), "height": 128, "width": 128, "dtype": cube.dtype.name}
    transform = rasterio.Affine(30, 0, 500_000, 0, -30, 5_800_000)
    with rasterio.open(path, "w", nodata=NO_DATA, crs="EPSG:32633", transform=transform, **profile) as file:
        file.write(cube)


def _write_preprocessed(root: Path, entry: str, cube: np.ndarray) -> Path:
    """What tif_to_npy.ipynb writes of an original patch."""
    path = root / "patches" / entry
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, (np.clip(cube[np.array(KEPT_BANDS) - 1], 0, 10_000) / 10_000).astype(np.float32))
    return path


def _write_blank(root: Path, entry: str, shape: tuple[int, ...] = (202, 128, 128), dtype: str = "int16") -> Path:
    """A file of zeros that takes no room on a disk."""
    path = root / "patches" / entry
    path.parent.mkdir(parents=True, exist_ok=True)
    np.lib.format.open_memmap(path, "w+", dtype=dtype, shape=shape)
    return path


def test_the_dropped_bands_leave_202() -> None:
    assert len(KEPT_BANDS) == 202
    assert (*range(127, 142), *range(161, 168)) == DROPPED_BANDS
    assert not set(KEPT_BANDS) & set(DROPPED_BANDS)


def test_geotiff_and_preprocessed_patches_give_the_same_digital_numbers(tmp_path: Path) -> None:
    cube = _original(1)
    for root, write in ((tmp_path / "tif", _write_original), (tmp_path / "npy", _write_preprocessed)):
        write(root, patch_entry(1), cube)
        write(root, patch_entry(2), _original(2))
        write_splits(root, train=[patch_entry(1)], val=[patch_entry(2)])
    expected = np.clip(np.delete(cube, np.array(DROPPED_BANDS) - 1, axis=0), 0, 10_000).astype(np.float32)
    config = replace(CONFIG, crop=16, spectral_gain=0.1)
    batches, hashes = [], []
    for folder in ("tif", "npy"):
        split = read_split([tmp_path / folder], config, MODEL)
        assert np.array_equal(split.training[0].cube, expected)
        assert split.validation[0].cube.shape == (202, 128, 128)
        batches.append(crops(split.training, count=3, config=config, seed=1, step=2))
        assert split.training[0].read_sha256 is not None
        hashes.append(split.training[0].read_sha256)
    # Of the pixels that training sees, whichever file holds them.
    assert hashes == [content_sha256(np.moveaxis(expected, 0, -1).astype(np.uint16))] * 2
    assert batches[0].dtype == np.float32
    assert np.array_equal(*batches)


def test_integers_are_digital_numbers_and_floats_reflectances(tmp_path: Path) -> None:
    for number, (value, dtype) in enumerate([(4321, "int16"), (0.4321, "float32"), (0.4321, "float64")]):
        _write_blank(tmp_path, patch_entry(number), dtype=dtype)
        np.lib.format.open_memmap(tmp_path / "patches" / patch_entry(number), "r+")[:] = value
    write_splits(tmp_path, train=[patch_entry(0), patch_entry(1)], val=[patch_entry(2)])
    split = read_split([tmp_path], CONFIG, MODEL)
    assert all((patch.cube == 4321).all() for patch in (*split.training, *split.validation))


def test_floats_that_are_no_reflectances_are_refused_until_their_scale_is_named(tmp_path: Path) -> None:
    path = _write_blank(tmp_path, patch_entry(1), dtype="float32")
    np.lib.format.open_memmap(path, "r+")[:] = 4321
    write_splits(tmp_path, train=[patch_entry(1)], val=[patch_entry(1)])
    with pytest.raises(SceneError, match=r"X00000001-DATA\.npy: its floating-point values reach 4321.*data\.scale"):
        read_split([tmp_path], CONFIG, MODEL)
    write_splits(tmp_path, train=[patch_entry(1)], val=[patch_entry(2)])
    _write_blank(tmp_path, patch_entry(2))
    split = read_split([tmp_path], replace(CONFIG, scale=1.0), MODEL)
    assert (split.training[0].cube == 4321).all()


def test_the_named_split_is_read(tmp_path: Path) -> None:
    for number in range(4):
        _write_blank(tmp_path, patch_entry(number))
    write_splits(tmp_path, "easy", train=[patch_entry(0), patch_entry(1)], val=[patch_entry(2)], test=[patch_entry(3)])
    write_splits(tmp_path, "hard", train=[patch_entry(3)], val=[patch_entry(0)], test=[patch_entry(1)])
    names = [Path(patch_entry(number)).stem for number in range(4)]
    for split, training, validation in ((None, [0, 1], [2]), ("easy", [0, 1], [2]), ("hard", [3], [0])):
        read = read_split([tmp_path], replace(CONFIG, split=split), MODEL)
        assert [patch.name for patch in read.training] == [names[i] for i in training]
        assert [patch.name for patch in read.validation] == [names[i] for i in validation]
    left = read_split([tmp_path], replace(CONFIG, exclude=("*X00000001-*",)), MODEL)
    assert [patch.name for patch in left.training] == names[:1]


def test_every_problem_of_the_set_is_reported_at_once(tmp_path: Path) -> None:
    _write_blank(tmp_path, patch_entry(0))
    _write_blank(tmp_path, patch_entry(1), (200, 128, 128))
    _write_blank(tmp_path, patch_entry(2), dtype="complex64")
    (tmp_path / "patches" / patch_entry(3)).parent.mkdir()
    (tmp_path / "patches" / patch_entry(3)).write_bytes(b"\x93NUMPY")
    write_splits(tmp_path, train=[patch_entry(number) for number in range(9)])
    with pytest.raises(SceneError) as caught:
        read_split([tmp_path], replace(CONFIG, crop=256), replace(MODEL, bands=20))
    message = str(caught.value)
    for part in (
        "val.csv is missing",
        "HySpecNet-11k has 202 bands, model.bands is 20",
        "data.crop is 256; patches have 128×128 pixels",
        f"5 of 9 patches are missing: {patch_entry(4)}, {patch_entry(5)}, {patch_entry(6)} and 2 more",
        "3 of 9 patches do not fit",
        "shape (200, 128, 128) of int16, (202, 128, 128)",
        "shape (202, 128, 128) of complex64",
        "X00000003-DATA.npy: not a readable '.npy' file",
    ):
        assert part in message, part


def test_patches_of_a_wrong_or_damaged_geotiff_are_reported(tmp_path: Path) -> None:
    _write_original(tmp_path, patch_entry(0), _original(0)[:100])
    _write_original(tmp_path, patch_entry(1), _original(0).astype(np.float32))
    _write_original(tmp_path, patch_entry(2), _original(0)[:1])
    damaged = tmp_path / "patches" / patch_entry(2).replace("-DATA.npy", "-SPECTRAL_IMAGE.TIF")
    damaged.write_bytes(b"II*\0 is no image")
    write_splits(tmp_path, train=[patch_entry(0), patch_entry(1)], val=[patch_entry(2)])
    with pytest.raises(
        SceneError, match=r"3 of 3.*\(100, 128, 128\) of int16.*of float32, .* of integers.*readable '\.TIF'"
    ):
        read_split([tmp_path], CONFIG, MODEL)


def test_a_patch_cut_short_is_reported_before_any_work(tmp_path: Path) -> None:
    path = _write_preprocessed(tmp_path, patch_entry(0), _original(0))
    path.write_bytes(path.read_bytes()[:10_000])
    write_splits(tmp_path, train=[patch_entry(0)], val=[patch_entry(0)])
    with pytest.raises(
        SceneError,
        match=r"1 patches are both.*1 of 1 .*cut short: \d+ octets are announced, 10000 are",
    ):
        read_split([tmp_path], CONFIG, MODEL)


@pytest.mark.parametrize("content", [None, ""])
def test_a_split_file_that_lists_nothing_is_reported(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "splits" / "hard").mkdir(parents=True)
    if content is not None:
        for name in ("train", "val"):
            (tmp_path / "splits" / "hard" / f"{name}.csv").write_text(content)
    fault = "missing" if content is None else "empty"
    with pytest.raises(SceneError, match=rf"hard/train\.csv is {fault}.*hard/val\.csv is {fault}"):
        read_split([tmp_path], replace(CONFIG, split="hard"), MODEL)


def test_one_folder_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"HySpecNet-11k is read from one folder.*absent is no folder"):
        read_split([tmp_path / "absent"], CONFIG, MODEL)
    with pytest.raises(SceneError, match="are several"):
        read_split([tmp_path, tmp_path], CONFIG, MODEL)


def test_pixels_that_are_zero_in_all_bands_have_no_data(tmp_path: Path) -> None:
    cube = _original(5)
    cube[:, :40] = NO_DATA
    cube[7, 100, 100] = NO_DATA  # one band of a pixel: zero in the published preprocessing
    for root, write in ((tmp_path / "tif", _write_original), (tmp_path / "npy", _write_preprocessed)):
        write(root, patch_entry(1), cube)
        write_splits(root, train=[patch_entry(1)], val=[patch_entry(2)])
        _write_blank(root, patch_entry(2))
        for config in (replace(CONFIG, crop=64), replace(CONFIG, crop=64, remove_mean_spectrum=True)):
            split = read_split([root], config, MODEL)
            batch = crops(split.training, count=4, config=config, seed=0, step=0)
            assert np.isfinite(batch).all()
            measured = split.training[0].cube
            assert measured.shape == (202, 88, 128)
            if config.remove_mean_spectrum:
                # The mean is rounded to whole digital numbers.
                assert np.abs(measured.mean(axis=(1, 2), dtype=np.float64)).max() <= 0.5
            else:
                assert measured[7, 60, 100] == 0
        whole_patches = replace(CONFIG, crop=128)
        with pytest.raises(SceneError, match="square free of no-data"):
            crops(read_split([root], whole_patches, MODEL).training, count=1, config=whole_patches, seed=0, step=0)


def test_a_file_that_breaks_during_training_is_named(tmp_path: Path) -> None:
    path = _write_blank(tmp_path, patch_entry(0))
    _write_blank(tmp_path, patch_entry(1))
    write_splits(tmp_path, train=[patch_entry(0)], val=[patch_entry(1)])
    split = read_split([tmp_path], CONFIG, MODEL)
    path.unlink()
    with pytest.raises(SceneError, match=r"X00000000-DATA\.npy: not a readable"):
        crops(split.training, count=1, config=CONFIG, seed=0, step=0)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    path = _write_blank(tmp_path, patch_entry(0))
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    write_splits(tmp_path, train=[patch_entry(0)], val=[patch_entry(0)])
    with pytest.raises(SceneError, match="holds pickled objects"):
        read_split([tmp_path], CONFIG, MODEL)


def test_a_patch_is_hashed_when_it_is_read_first_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        path = _write_preprocessed(tmp_path, patch_entry(number), _original(number))
        assert path.is_file()
    write_splits(tmp_path, train=[patch_entry(0), patch_entry(1)], val=[patch_entry(2)])
    split = read_split([tmp_path], replace(CONFIG, crop=16, remove_mean_spectrum=True), MODEL)
    assert split.read_so_far() == TrainingData()
    assert split.training[1].square(16, np.random.default_rng(0)) is not None
    (sha256,) = split.read_so_far().training
    assert split.read_so_far() == TrainingData(training={sha256: Path(patch_entry(1)).stem})
    monkeypatch.setattr("hyvic_train.data.patch_set.content_sha256", None)
    assert split.training[1].square(16, np.random.default_rng(1)) is not None
