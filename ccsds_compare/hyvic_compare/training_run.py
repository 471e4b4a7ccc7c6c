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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from hyvic_runtime.families.adaptive.bundle import ADAPTIVE
from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from hyvic_compare.errors import RunError, invalid_entries
from hyvic_compare.evaluation import Evaluation
from hyvic_compare.rate_point import RatePoint

CONFIG, RATE_DISTORTION = "config.json", "rd.json"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RateDistortion:
    """Contents of rd.json.

    Attributes:
        step: step at which the points were measured.
        bits_per_sample: N_b of eq. 4.
        points: rate points, at least one.
    """

    step: NonNegativeInt
    bits_per_sample: PositiveInt
    points: Annotated[tuple[RatePoint, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Configuration:
    """Sections of config.json that matter here."""

    model: Mapping[str, Any]
    optimisation: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """Contents of one folder.

    Attributes:
        folder: path of the folder, as it was given.
        model: model section of the configuration.
        steps: number of steps that the configuration asks for, or None if it does not say.
        measured: rate and distortion at the last validation, or in an evaluation.
    """

    folder: Path
    model: Mapping[str, Any]
    steps: int | None
    measured: RateDistortion


def read_runs(folders: Sequence[Path], evaluation: Evaluation | None = None) -> tuple[TrainingRun, ...]:
    """Read runs to compare; a folder named twice is read once.

    Args:
        folders: folders that train-model wrote.
        evaluation: evaluation whose points take the place of the last validation's, or None.

    Raises:
        RunError: folders are unreadable, damaged or not comparable; the error lists every problem.
    """
    runs: dict[Path, TrainingRun] = {}
    problems: list[str] = []
    for folder in folders:
        if folder.resolve() in runs:
            continue
        try:
            run = read_run(folder)
            if evaluation is not None:
                run = replace(run, measured=replace(run.measured, points=evaluation.points_of(folder)))
            runs[folder.resolve()] = run
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
        raise RunError(
            [f"{folder}: no such folder; a run is a folder that train-model wrote, and a published curve a CSV file"]
        )
    problems: list[str] = []
    config = _read(_Configuration, folder / CONFIG, problems)
    if config is not None and config.model.get("family") == ADAPTIVE:
        raise RunError(
            [
                f"{folder} trained a context model, whose runs measure rates and no distortion; compare its bundles "
                "with compare-codecs or python -m studies.cross_validation"
            ]
        )
    measured = _read(RateDistortion, folder / RATE_DISTORTION, problems)
    if config is None or measured is None:
        raise RunError(problems)
    steps = config.optimisation.get("steps") if isinstance(config.optimisation, dict) else None
    return TrainingRun(
        folder=folder, model=config.model, steps=steps if isinstance(steps, int) else None, measured=measured
    )


def _read(kind: type[T], path: Path, problems: list[str]) -> T | None:
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        hint = "; train-model writes it at every validation" if path.name == RATE_DISTORTION else ""
        problems.append(f"{path} is missing{hint}")
    except OSError as error:
        problems.append(f"{path} is not readable ({error})")
    except ValidationError as error:
        problems += (f"{path}: {problem}" for problem in invalid_entries(error))
    return None


def names_text(names: Sequence[str]) -> str:
    """Return names for a message; a test set has a thousand, of which a few are enough."""
    few = ", ".join(names[:_FEW])
    return few if len(names) <= _FEW else f"{few} and {len(names) - _FEW} more"


_FEW = 8


def _differences(runs: Sequence[TrainingRun]) -> Iterator[str]:
    """Name the differences that prevent a comparison with the first run."""
    if not runs:
        return
    first = runs[0]
    expected = set(first.measured.points[0].scenes)
    for run in runs:
        for index, point in enumerate(run.measured.points):
            names = set(point.scenes)
            if names != expected:
                lacks, adds = sorted(expected - names), sorted(names - expected)
                changes = [f"{verb} {names_text(some)}" for verb, some in (("lacks", lacks), ("adds", adds)) if some]
                yield (
                    f"{run.folder}: point {index} {' and '.join(changes)} compared with {first.folder}; "
                    "measure all runs on the same scenes"
                )
                break
        bits, first_bits = run.measured.bits_per_sample, first.measured.bits_per_sample
        if bits != first_bits:
            yield f"{run.folder} codes {bits}-bit samples, {first.folder} {first_bits}-bit ones"
        if run.model.get("peak") != first.model.get("peak"):
            yield (
                f"{run.folder} takes PSNR over {run.model.get('peak')}, {first.folder} over {first.model.get('peak')}"
            )
