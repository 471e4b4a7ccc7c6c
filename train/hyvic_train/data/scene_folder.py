"""Scenes of any sensor, in any format of the runtime, brought to one band grid and split by scene.

`.npy` and ENVI scenes that need no resampling stay on disk: only the crops that training cuts are read. Others are held
in their own integer type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene.content_hash import content_sha256
from hyvic_runtime.scene.files import READABLE_SUFFIXES, read_scene
from hyvic_runtime.scene.scene import Cube, Scene, mean_spectrum, resample_bands
from numpy.typing import NDArray

from hyvic_train.config import BandRange, DataConfig, ModelConfig, matches
from hyvic_train.data.cubes import Part, TrainingCube
from hyvic_train.data.no_data import FreeArea, free_corners, largest_rectangle


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenePixels:
    """Pixels of one scene as the model sees them.

    Attributes:
        held: (line, sample, band) digital numbers, or their file, which is mapped at every read. A kept mapping would
            keep its file open, and a process may open only so many.
        mean: (band,) spectrum that is subtracted from every pixel, or None.
        missing: (line, sample), pixels without data; None: there are no such pixels.
        sha256: content hash of the pixels as stored; None: `held` holds them as stored.
    """

    held: Cube | Path
    mean: NDArray[np.float32] | None
    missing: NDArray[np.bool_] | None
    sha256: str | None = None

    def read(self, lines: slice, samples: slice) -> NDArray[np.float32]:
        """Read a part as (band, line, sample) digital numbers, NaN in every band of a pixel without data."""
        cube = read_scene(self.held).cube if isinstance(self.held, Path) else self.held
        values = np.ascontiguousarray(np.moveaxis(cube[lines, samples], -1, 0), np.float32)
        if self.mean is not None:
            values -= self.mean[:, None, None]
        if self.missing is not None:
            values[:, self.missing[lines, samples]] = np.nan
        return values

    def stored_sha256(self) -> str:
        """Return the content hash of the pixels as stored; a mapped file is read once for it, line by line."""
        if self.sha256 is not None:
            return self.sha256
        return content_sha256(read_scene(self.held).cube if isinstance(self.held, Path) else self.held)


def read_scenes(
    paths: Sequence[Path], config: DataConfig, model: ModelConfig, parts: Sequence[Part]
) -> dict[Part, tuple[TrainingCube, ...]]:
    """Find every scene under `paths` to train on (train) and to measure (val), on the model's bands if it names any.

    Raises:
        SceneError: every scene that does not fit, in one message.
    """
    if "test" in parts:
        raise SceneError("a folder of scenes has no test part; name val for those of data.validation, or train")
    training: list[TrainingCube] = []
    validation: list[TrainingCube] = []
    problems: list[str] = []
    files = [(path, relative) for path, relative in _scene_files(paths) if not config.excludes(relative)]
    for path, relative in files:
        measured = config.measures(relative)
        try:
            cube = _stored_cube(path, relative, config, model, measured)
        except SceneError as error:
            problems.append(str(error))
            continue
        (validation if measured else training).append(cube)
    problems += [
        f"{count} scenes are called {name}; name the folder above them, or rename all but one"
        for name, count in Counter(_name(relative) for _, relative in files).items()
        if count > 1
    ]
    # A misspelt pattern would train on scenes that are only to be measured.
    unknown = [name for name in config.validation if not any(matches(relative, [name]) for _, relative in files)]
    if unknown and files:
        problems.append(
            f"data.validation names {', '.join(unknown)}, which none of {len(files)} scenes matches; name scenes that "
            "are there, or set it to [] to measure none"
        )
    if "train" in parts and not (training or problems):
        problems.append(f"no scene to train on under {', '.join(map(str, paths))}")
    if problems:
        raise SceneError("; ".join(problems))
    return {"train": tuple(training), "val": tuple(validation)}


def _scene_files(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """List every readable file with its path below the named folder."""
    files: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            found = sorted(f for f in path.rglob("*") if f.suffix.lower() in READABLE_SUFFIXES)
            files += [(file, file.relative_to(path).as_posix()) for file in found]
        else:
            files.append((path, path.name))
    return files


def _name(relative: str) -> str:
    return str(Path(relative).with_suffix(""))


def _stored_cube(path: Path, relative: str, config: DataConfig, model: ModelConfig, measured: bool) -> TrainingCube:
    stored = read_scene(path)
    valid = _valid_pixels(stored, config)
    scene = _on_grid(stored, path, config, model.bands)
    size = (scene.cube.shape[0], scene.cube.shape[1])
    needed = model.cell if measured else config.crop
    if min(size) < needed:
        raise SceneError(
            f"{path}: {size[0]}×{size[1]} pixels, at least {needed}×{needed} are needed; lower data.crop or exclude it"
        )
    free = None if valid is None else _free_area(valid, path, needed, measured)
    mean = None
    if config.remove_mean_spectrum:
        with_data = scene if valid is None else replace(scene, cube=scene.cube[valid][None])
        mean = mean_spectrum(with_data).astype(np.float32)
    # A copy of a mapping, in another type, is a memmap too, but of no file.
    mapped = scene.cube is stored.cube and isinstance(scene.cube, np.memmap) and scene.cube.filename is not None
    pixels = ScenePixels(
        held=path if mapped else scene.cube,
        mean=mean,
        missing=None if valid is None else ~valid,
        sha256=None if scene.cube is stored.cube else content_sha256(stored.cube),
    )
    count = size[0] * size[1] if valid is None else int(np.count_nonzero(valid))
    return TrainingCube(name=_name(relative), size=size, pixels=count, source=pixels, free=free)


def _free_area(valid: NDArray[np.bool_], path: Path, needed: int, measured: bool) -> FreeArea:
    free = FreeArea(corners=free_corners(valid, needed), rectangle=largest_rectangle(valid))
    sides = [part.stop - part.start for part in free.rectangle]
    if not len(free.corners) or (measured and min(sides) < needed):
        raise SceneError(
            f"{path}: {valid.size - np.count_nonzero(valid)} of {valid.size} pixels have no data, and no "
            f"{needed}×{needed} square is free of them; leave out bands that are no-data everywhere, correct "
            "data.no_data, lower data.crop, or exclude it"
        )
    return free


def _valid_pixels(scene: Scene, config: DataConfig) -> NDArray[np.bool_] | None:
    """Find the pixels with data in every band; None where all have data."""
    value = scene.no_data if config.no_data is None else config.no_data
    if value is None:
        return None
    valid = np.stack([(line != value).all(axis=-1) for line in scene.cube])
    return None if valid.all() else valid


def _on_grid(scene: Scene, path: Path, config: DataConfig, bands: int | None) -> Scene:
    if scene.wavelengths is None:
        source = next((c for p, c in config.source_wavelengths.items() if fnmatch(path.name, p)), None)
        if isinstance(source, BandRange):
            source = tuple(np.linspace(source.start, source.stop, scene.cube.shape[2]))
        if source is not None:
            try:
                scene = replace(scene, wavelengths=np.array(source))
            except SceneError as error:
                raise SceneError(f"{path}: data.source_wavelengths: {error}") from error
    if config.wavelengths is not None and scene.wavelengths is not None:
        scene = _resampled(scene, path, np.array(config.wavelengths))
    if bands is not None and scene.cube.shape[2] != bands:
        raise SceneError(
            f"{path}: {scene.cube.shape[2]} bands, the model has {bands}; name its band centres under "
            "data.source_wavelengths so that it can be resampled, or exclude it"
        )
    return scene


def _resampled(scene: Scene, path: Path, wavelengths: NDArray[np.float64]) -> Scene:
    if scene.wavelengths is not None and np.array_equal(scene.wavelengths, wavelengths):
        return scene  # interpolation would copy every sample, and load a mapped scene
    try:
        return resample_bands(scene, wavelengths)
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error
