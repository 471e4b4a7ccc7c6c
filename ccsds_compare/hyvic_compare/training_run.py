"""Training runs: folders that `train-model` wrote, without their weights.

    RUN/config.json    the configuration; its `model` section says which runs are one model
    RUN/rd.json        rate and distortion at the last validation, by rate point and scene

rd.json:

    {"step": 4000, "bits_per_sample": 16,
     "points": [{"lmbda": 1e-4, "quality": 50.0,
                 "scenes": {"NAME": {"rate_bpppb": 0.15, "mse": 1234.5, "psnr_db": 39.1}}}]}

There is one point for a fixed λ, and several for a variable rate; `quality` may be null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyvic_runtime.families.adaptive.bundle import ADAPTIVE

from hyvic_compare.errors import RunError

CONFIG, RATE_DISTORTION = "config.json", "rd.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneMeasure:
    """Rate and distortion of one scene.

    Attributes:
        rate_bpppb: bits per pixel per band.
        psnr_db: PSNR over the sensor's range.
    """

    rate_bpppb: float
    psnr_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePoint:
    """One λ, or one quality of a variable-rate model.

    Attributes:
        lmbda: λ of eq. 2.
        quality: quality of a variable-rate model, or None.
        scenes: measures by scene name.
    """

    lmbda: float
    quality: float | None
    scenes: Mapping[str, SceneMeasure]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """Contents of one folder.

    Attributes:
        folder: path of the folder, as it was given.
        model: model section of the configuration.
        steps: number of steps that the configuration asks for, or None if it does not say.
        step: step at which the points were measured.
        bits_per_sample: N_b of eq. 4.
        points: rate points, at least one.
    """

    folder: Path
    model: Mapping[str, object]
    steps: int | None
    step: int
    bits_per_sample: int
    points: tuple[RatePoint, ...]


def read_runs(folders: Sequence[Path]) -> tuple[TrainingRun, ...]:
    """Read runs to compare; a folder named twice is read once.

    Raises:
        RunError: folders are unreadable, damaged or not comparable; the error lists every problem.
    """
    runs: dict[Path, TrainingRun] = {}
    problems: list[str] = []
    for folder in folders:
        if folder.resolve() in runs:
            continue
        try:
            runs[folder.resolve()] = read_run(folder)
        except RunError as error:
            problems += (problem for problem in error.problems if problem not in problems)
    found = tuple(runs.values())
    problems += _differences(found)
    if problems:
        raise RunError(problems)
    return found


def read_run(folder: Path) -> TrainingRun:
    """Read one run.

    Raises:
        RunError: the folder has problems; the error lists all of them.
    """
    if not folder.is_dir():
        raise RunError([f"{folder}: no such folder; a run is a folder that train-model wrote"])
    problems: list[str] = []
    config = _object(folder / CONFIG, problems)
    measured = _object(folder / RATE_DISTORTION, problems)
    model, steps = _configuration(folder / CONFIG, config, problems) if config is not None else ({}, None)
    if model.get("family") == ADAPTIVE:
        raise RunError(
            [
                f"{folder} trained a context model, whose runs measure rates and no distortion; compare its bundles "
                "with compare-codecs or python -m studies.cross_validation"
            ]
        )
    step, bits = 0, 0
    points: tuple[RatePoint, ...] = ()
    if measured is not None:
        path = folder / RATE_DISTORTION
        step = _whole(path, measured, "step", 0, problems)
        bits = _whole(path, measured, "bits_per_sample", 1, problems)
        points = tuple(_points(path, measured.get("points"), problems))
    if problems:
        raise RunError(problems)
    return TrainingRun(folder=folder, model=model, steps=steps, step=step, bits_per_sample=bits, points=points)


def _object(path: Path, problems: list[str]) -> dict[str, object] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = "; train-model writes it at every validation" if path.name == RATE_DISTORTION else ""
        problems.append(f"{path} is missing{hint}")
        return None
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path} is not readable JSON ({error})")
        return None
    if not isinstance(document, dict):
        problems.append(f"{path} is not a JSON object")
        return None
    return document


def _configuration(
    path: Path, config: Mapping[str, object], problems: list[str]
) -> tuple[Mapping[str, object], int | None]:
    model = config.get("model")
    if not isinstance(model, dict):
        problems.append(f"{path} has no model section")
        model = {}
    optimisation = config.get("optimisation")
    steps = optimisation.get("steps") if isinstance(optimisation, dict) else None
    return model, steps if isinstance(steps, int) else None


def _whole(path: Path, document: Mapping[str, object], name: str, least: int, problems: list[str]) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        problems.append(f"{path}: {name} is {_shown(value)}; it must be a whole number from {least}")
        return least
    return value


def _points(path: Path, points: object, problems: list[str]) -> Iterator[RatePoint]:
    if not isinstance(points, list) or not points:
        problems.append(f"{path} holds no points")
        return
    for index, point in enumerate(points):
        where = f"{path}: point {index}"
        if not isinstance(point, dict) or not isinstance(point.get("scenes"), dict) or not point["scenes"]:
            problems.append(f"{where} has no scenes")
            continue
        before = len(problems)
        lmbda = _number(where, point, "lmbda", positive=True, problems=problems)
        quality = point.get("quality")
        if quality is not None:
            quality = _number(where, point, "quality", positive=False, problems=problems)
        scenes = {}
        for name, scene in point["scenes"].items():
            if not isinstance(scene, dict):
                problems.append(f"{where}, {name} is not a JSON object")
                continue
            scenes[name] = SceneMeasure(
                rate_bpppb=_number(f"{where}, {name}", scene, "rate_bpppb", positive=True, problems=problems),
                psnr_db=_number(f"{where}, {name}", scene, "psnr_db", positive=False, problems=problems),
            )
        if len(problems) == before:
            yield RatePoint(lmbda=lmbda, quality=quality, scenes=scenes)


def _number(where: str, document: Mapping[str, object], name: str, *, positive: bool, problems: list[str]) -> float:
    value = document.get(name)
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or (positive and number <= 0):
        kind = "a positive number" if positive else "a finite number"
        problems.append(f"{where}: {name} is {_shown(value)}; it must be {kind}")
        return 1.0
    return number


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _differences(runs: Sequence[TrainingRun]) -> Iterator[str]:
    """Name the differences that prevent a comparison with the first run."""
    if not runs:
        return
    first = runs[0]
    expected = set(first.points[0].scenes)
    for run in runs:
        for index, point in enumerate(run.points):
            names = set(point.scenes)
            if names != expected:
                lacks, adds = sorted(expected - names), sorted(names - expected)
                changes = [f"lacks {', '.join(lacks)}"] * bool(lacks) + [f"adds {', '.join(adds)}"] * bool(adds)
                yield (
                    f"{run.folder}: point {index} {' and '.join(changes)} compared with {first.folder}; "
                    "validate all runs on the same scenes"
                )
                break
        if run.bits_per_sample != first.bits_per_sample:
            yield (
                f"{run.folder} codes {run.bits_per_sample}-bit samples, {first.folder} {first.bits_per_sample}-bit ones"
            )
        if run.model.get("peak") != first.model.get("peak"):
            yield (
                f"{run.folder} takes PSNR over {_shown(run.model.get('peak'))}, "
                f"{first.folder} over {_shown(first.model.get('peak'))}"
            )
