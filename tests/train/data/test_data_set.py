from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene.files import write_scene
from hyvic_runtime.scene.scene import Scene
from hyvic_train.config import BandRange, ConfigError, DataConfig
from hyvic_train.config_file import read_sweep
from hyvic_train.data.crops import crops
from hyvic_train.data.data_set import read_split
from hyvic_train.families.latent.config import config_from_json
from hyvic_train.families.latent.model_config import HyVICConfig
from scenes import ROOT
from training_cubes import cube_in_memory

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


@pytest.mark.parametrize("pattern", ["{}*", "{}.npz", "{}"])
def test_the_split_is_by_scene(tmp_path: Path, pattern: str) -> None:
    for name in ("a", "b", "c"):
        np.savez(tmp_path / f"{name}.npz", cube=_scene(3))
    config = DataConfig(crop=4, validation=(pattern.format("b"),), exclude=(pattern.format("c"),))
    split = read_split([tmp_path], config, model=MODEL)
    assert [s.name for s in split.training] == ["a"]
    assert [s.name for s in split.validation] == ["b"]


def test_a_pattern_of_no_scene_is_refused(tmp_path: Path) -> None:
    """Misspelt, it would have scenes trained on that were to be measured alone."""
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", cube=_scene(3))
    with pytest.raises(SceneError, match=r"data.validation names B\*, which none of 2 scenes matches"):
        read_split([tmp_path], DataConfig(crop=4, validation=("b*", "B*")), model=MODEL)


def test_crops_depend_on_seed_and_step_alone() -> None:
    rng = np.random.default_rng(0)
    scenes = [cube_in_memory("s", rng.random((3, 12, 14)).astype(np.float32))]
    config = DataConfig(crop=4, spectral_gain=0.3)
    batch = crops(scenes, count=5, config=config, seed=1, step=7)
    assert np.array_equal(batch, crops(scenes, count=5, config=config, seed=1, step=7))
    assert not np.array_equal(batch, crops(scenes, count=5, config=config, seed=1, step=8))


def test_augmentation_keeps_spectra_of_pixels_together() -> None:
    cube = np.stack([np.arange(144.0).reshape(12, 12), 1000 + np.arange(144.0).reshape(12, 12)]).astype(np.float32)
    batch = crops([cube_in_memory("s", cube)], count=20, config=DataConfig(crop=4), seed=0, step=0)
    assert np.array_equal(batch[:, 1] - batch[:, 0], np.full((20, 4, 4), 1000, np.float32))


def _ramps(lines: int = 20, samples: int = 24, bands: int = 3) -> np.ndarray:
    return np.arange(lines * samples * bands, dtype=np.int16).reshape(lines, samples, bands)


def _crops_of(path: Path, config: DataConfig) -> np.ndarray:
    return crops(read_split([path], config, MODEL).training, count=6, config=config, seed=1, step=2)


@pytest.mark.parametrize("mean", [False, True])
def test_a_crop_is_the_same_from_a_mapped_file_and_from_memory(tmp_path: Path, mean: bool) -> None:
    config = DataConfig(crop=8, remove_mean_spectrum=mean, gain=0.2, spectral_gain=0.1)
    scene = Scene(cube=_ramps())
    paths = [tmp_path / name for name in ("a.npz", "a.npy", "a.hdr", "a.tif", "big_endian.npy", "float.npy")]
    for path in paths[:4]:
        write_scene(scene, path)
    np.save(paths[4], scene.cube.astype(">i2"))
    np.save(paths[5], scene.cube.astype(np.float32))
    batches = [_crops_of(path, config) for path in paths]
    assert all(np.array_equal(batch, batches[0]) for batch in batches)


def test_scenes_that_need_no_resampling_stay_on_disk(tmp_path: Path) -> None:
    for name, cube in (("a", _ramps()), ("v", _ramps())):
        np.save(tmp_path / f"{name}.npy", cube)
    config = DataConfig(crop=8, validation=("v*",), flips=False, transposes=False)
    split = read_split([tmp_path], config, MODEL)
    np.save(tmp_path / "a.npy", np.full_like(_ramps(), 7))
    assert (crops(split.training, count=2, config=config, seed=0, step=0) == 7).all()
    assert np.array_equal(split.validation[0].cube, np.moveaxis(_ramps(), -1, 0))


def test_a_whole_archive_is_read_through_few_open_files(tmp_path: Path) -> None:
    for number in range(40):
        np.save(tmp_path / f"{number}.npy", _scene(3))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 10, hard))
    try:
        assert _crops_of(tmp_path, DataConfig(crop=4)).shape == (6, 3, 4, 4)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_scenes_in_subfolders_are_found_and_named_by_their_path(tmp_path: Path) -> None:
    for name in ("july/a", "july/b", "june/a", "june/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.savez(tmp_path / f"{name}.npz", cube=_scene(3))
    config = DataConfig(crop=4, validation=("june/*",), exclude=("b.npz",))
    split = read_split([tmp_path], config, MODEL)
    assert [s.name for s in split.training] == ["july/a"]
    assert [s.name for s in split.validation] == ["june/a"]
    with pytest.raises(SceneError, match="2 scenes are called a; name the folder above them"):
        read_split([tmp_path / "july", tmp_path / "june"], config, MODEL)


def _swath(lines: int = 20, samples: int = 24) -> np.ndarray:
    """A scene turned in its frame: two corners hold no-data in every band, one pixel in a single band."""
    cube = _ramps(lines, samples) % 500
    diagonal = np.add.outer(np.arange(lines), np.arange(samples))
    cube[(diagonal < 8) | (diagonal > 36)] = -9999
    cube[15, 3, 1] = -9999
    return cube


def _write_marked(path: Path, cube: np.ndarray) -> None:
    """The scene with its no-data value in the file's own metadata."""
    if path.suffix == ".npz":
        write_scene(Scene(cube=cube, no_data=-9999), path)
        return
    write_scene(Scene(cube=cube), path)
    if path.suffix == ".tif":
        with rasterio.open(path, "r+") as file:
            file.nodata = -9999
    else:
        path.write_text(path.read_text() + "data ignore value = -9999\n")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", ["s.tif", "s.hdr", "s.npz", "s.npy"])
def test_no_crop_and_no_measurement_holds_no_data(tmp_path: Path, name: str) -> None:
    cube = _swath()
    if name == "s.npy":
        np.save(tmp_path / name, cube)
    else:
        _write_marked(tmp_path / name, cube)
    no_data = -9999 if name == "s.npy" else None
    np.savez(tmp_path / "t.npz", cube=_ramps())
    config = DataConfig(crop=8, no_data=no_data, exclude=("t*",))
    split = read_split([tmp_path], config, MODEL)
    assert (crops(split.training, count=60, config=config, seed=0, step=0) >= 0).all()
    assert split.training[0].pixels == (cube != -9999).all(axis=2).sum()
    measured = read_split([tmp_path], DataConfig(crop=8, no_data=no_data, validation=("s*",)), MODEL).validation[0].cube
    assert (measured >= 0).all()
    assert measured[0].size >= 8 * 8


def test_the_mean_spectrum_is_that_of_pixels_with_data(tmp_path: Path) -> None:
    cube = np.full((8, 9, 3), 1000, np.int16)
    cube[:, :2] = -9999
    np.savez(tmp_path / "s.npz", cube=cube, wavelengths=np.array([400.0, 500, 600]))
    config = DataConfig(crop=4, no_data=-9999, remove_mean_spectrum=True, wavelengths=(450.0, 500.0, 550.0))
    assert (_crops_of(tmp_path, config) == 0).all()


def test_scenes_of_no_data_alone_are_reported(tmp_path: Path) -> None:
    cube = _ramps()
    cube[..., 1] = -9999
    np.savez(tmp_path / "a.npz", cube=cube)
    with pytest.raises(SceneError, match=r"a\.npz: 480 of 480 pixels have no data, and no 8×8.*bands that are no-data"):
        read_split([tmp_path], DataConfig(crop=8, no_data=-9999), MODEL)


def test_a_data_ignore_value_that_is_no_number_is_reported(tmp_path: Path) -> None:
    write_scene(Scene(cube=_ramps()), tmp_path / "a.hdr")
    with (tmp_path / "a.hdr").open("a") as file:
        file.write("data ignore value = none\n")
    with pytest.raises(SceneError, match=r"a\.hdr: data ignore value is 'none'"):
        read_split([tmp_path], DataConfig(crop=8), MODEL)


def test_scenes_without_the_wavelengths_they_need_are_all_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", cube=_scene(5))
    np.savez(tmp_path / "b.npz", cube=_scene(7), wavelengths=np.linspace(0.4, 2.5, 7))
    np.savez(tmp_path / "c.npz", cube=_scene(4))
    config = DataConfig(crop=4, wavelengths=(450.0, 650.0, 900.0), source_wavelengths={"c*": (400.0, 500.0)})
    with pytest.raises(SceneError, match=r"a\.npz: 5 bands.*b\.npz: .*are they in µm.*c\.npz: .*2 wavelengths for 4"):
        read_split([tmp_path], config, MODEL)


def test_every_impossible_key_of_the_data_section_is_reported_at_once() -> None:
    document = {
        "model": {"bands": 3, "latent_channels": 5, "hyperlatent_channels": 4, "spatial_stages": 0},
        "optimisation": {"lmbda": 1e-4, "steps": 1},
        "data": {
            "dataset": "hyspecnet-11k",
            "split": "random",
            "crop": 0,
            "gain": 3,
            "scale": -1,
            "no_data": 0,
            "validation": ["a*"],
            "source_wavelengths": {"a*": {"start": 400, "stop": 500}},
        },
    }
    with pytest.raises(ConfigError) as caught:
        config_from_json(document)
    for part in (
        "crop is 0",
        "gain is 3.0; it must lie in 0..2",
        "scale is -1.0",
        "split is random; hyspecnet-11k has easy or hard",
        "validation has no use with dataset hyspecnet-11k: the data set has its own split",
        "source_wavelengths has no use",
        "no_data has no use",
    ):
        assert part in str(caught.value), part
    with pytest.raises(ValueError, match="split is easy; scenes has only validation patterns"):
        DataConfig(split="easy")
    with pytest.raises(ValueError, match="scale has no use with dataset scenes"):
        DataConfig(scale=2.0)


@pytest.mark.parametrize("path", sorted((ROOT / "train" / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_is_read(path: Path) -> None:
    assert read_sweep(path)
