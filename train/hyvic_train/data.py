"""Training crops and validation scenes on one band grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene import Scene, mean_spectrum, resample_bands
from hyvic_runtime.scene_files import READABLE_SUFFIXES, read_scene
from numpy.typing import NDArray

from hyvic_train.config import BandRange, DataConfig, HyVICConfig

_BROAD_KNOTS, _NARROW_KNOTS = 8, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCube:
    """One scene: its file's stem, and what the model sees of it, (band, line, sample) float32 digital numbers."""

    name: str
    cube: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSplit:
    """Scenes to train on and scenes only to measure."""

    training: tuple[NamedCube, ...]
    validation: tuple[NamedCube, ...]


def read_split(paths: Sequence[Path], config: DataConfig, model: HyVICConfig) -> SceneSplit:
    """Read every scene under `paths`, on the model's bands, split by file name.

    Raises:
        SceneError: all scenes that do not fit, in one message.
    """
    training: list[NamedCube] = []
    validation: list[NamedCube] = []
    problems: list[str] = []
    for path in _scene_files(paths):
        if _matches(path, config.exclude):
            continue
        try:
            scene = _on_grid(read_scene(path), path, config, model.bands)
        except SceneError as error:
            problems.append(str(error))
            continue
        cube = np.ascontiguousarray(np.moveaxis(scene.cube, -1, 0), np.float32)
        if config.remove_mean_spectrum:
            cube -= mean_spectrum(scene)[:, None, None]
        measured = _matches(path, config.validation)
        needed = model.hyper_stride if measured else config.crop
        if min(cube.shape[1:]) < needed:
            problems.append(
                f"{path}: {cube.shape[1]}×{cube.shape[2]} pixels, at least {needed}×{needed} are needed; "
                "lower data.crop or exclude it"
            )
            continue
        (validation if measured else training).append(NamedCube(name=path.stem, cube=cube))
    if not training and not problems:
        problems.append(f"no scene to train on under {', '.join(map(str, paths))}")
    if problems:
        raise SceneError("; ".join(problems))
    return SceneSplit(training=tuple(training), validation=tuple(validation))


def _scene_files(paths: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(f for f in path.iterdir() if f.suffix.lower() in READABLE_SUFFIXES)
        else:
            files.append(path)
    return files


def _matches(path: Path, patterns: Iterable[str]) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in patterns)


def _on_grid(scene: Scene, path: Path, config: DataConfig, bands: int) -> Scene:
    if scene.wavelengths is None:
        source = next((c for p, c in config.source_wavelengths.items() if fnmatch(path.name, p)), None)
        if isinstance(source, BandRange):
            source = tuple(np.linspace(source.start, source.stop, scene.cube.shape[2]))
        if source is not None:
            scene = replace(scene, wavelengths=np.array(source))
    if config.wavelengths is not None and scene.wavelengths is not None:
        scene = resample_bands(scene, np.array(config.wavelengths))
    if scene.cube.shape[2] != bands:
        raise SceneError(
            f"{path}: {scene.cube.shape[2]} bands, the model has {bands}; name its band centres under "
            "data.source_wavelengths so that it can be resampled, or exclude it"
        )
    return scene


def crops(scenes: Sequence[NamedCube], *, count: int, config: DataConfig, seed: int, step: int) -> NDArray[np.float32]:
    """The batch of one step: (count, band, crop, crop) digital numbers.

    It depends on (seed, step) alone, so a resumed run sees what an uninterrupted one would have seen.
    Every pixel of the archive is equally likely; flips and turns keep spectra intact, and the spectral
    augmentation widens the few sensors and atmospheres of an archive.
    """
    rng = np.random.default_rng((seed, step))
    pixels = np.array([s.cube[0].size for s in scenes], np.float64)
    side = config.crop
    batch = np.empty((count, scenes[0].cube.shape[0], side, side), np.float32)
    for slot, index in enumerate(rng.choice(len(scenes), count, p=pixels / pixels.sum())):
        cube = scenes[index].cube
        line = rng.integers(cube.shape[1] - side + 1)
        sample = rng.integers(cube.shape[2] - side + 1)
        crop = cube[:, line : line + side, sample : sample + side]
        crop = np.rot90(crop, rng.integers(4), axes=(1, 2))
        if rng.integers(2):
            crop = crop[:, ::-1]
        bands = len(crop)
        # Broad curves are illumination and calibration; narrow ones, half as strong, absorption lines.
        log_gain = _curve(rng, bands, _BROAD_KNOTS) + 0.5 * _curve(rng, bands, _NARROW_KNOTS)
        batch[slot] = crop * np.exp(config.spectral_gain * log_gain)[:, None, None]
    return batch


def _curve(rng: np.random.Generator, bands: int, knots: int) -> NDArray[np.float64]:
    """A random piecewise-linear spectrum whose knots are standard normal."""
    return np.interp(np.linspace(0, 1, bands), np.linspace(0, 1, knots), rng.normal(size=knots))
