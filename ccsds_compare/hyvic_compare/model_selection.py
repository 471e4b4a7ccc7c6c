"""Metric-driven selection (seed paper, section V-A): one BD-PSNR for every model, and the best of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyvic_compare.bd_psnr import BDPSNR, Curve, CurveGapError, bd_psnr
from hyvic_compare.errors import RunError
from hyvic_compare.model_complexity import Architecture, Complexity, architecture_from_config, complexity
from hyvic_compare.training_run import RatePoint, TrainingRun, read_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Runs with one `model` section, at one or several λ: one rate–distortion curve.

    Attributes:
        label: S, k, M and N, and everything else that differs from the other models.
        runs: names of its folders.
        curve: see `curve_from_points`.
        bd_psnr: BD-PSNR against the reference model, or None if it cannot be computed.
        gap: reason why there is no BD-PSNR.
        architecture: architecture of a HyVIC model, or None for another family.
        complexity: complexity of `architecture`.
        candidate: whether it can be selected; a reference that is not among the runs cannot.
    """

    label: str
    runs: tuple[str, ...]
    curve: Curve
    bd_psnr: BDPSNR | None
    gap: str | None
    architecture: Architecture | None
    complexity: Complexity | None
    candidate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Result of `select-model`.

    Attributes:
        models: all models, best first; models without a BD-PSNR last.
        selected: candidate with the highest BD-PSNR; among equals, the one that encodes with fewer FLOPs.
        reference: model that the others are compared with.
        scenes: names of the measured scenes.
        notes: sentences that qualify the order.
    """

    models: tuple[Model, ...]
    selected: Model
    reference: Model
    scenes: tuple[str, ...]
    notes: tuple[str, ...]


def select(folders: Sequence[Path], references: Sequence[Path]) -> Selection:
    """Rank the models of runs by BD-PSNR against a reference model.

    Args:
        folders: runs to choose among.
        references: runs of the reference model. The model has all points of its runs, runs among `folders` too; if no
            run is among `folders`, the model is not a candidate.

    Raises:
        RunError: the runs have problems, all of which the error lists, or no model has a BD-PSNR.
    """
    runs = read_runs([*folders, *references])
    groups: dict[str, list[TrainingRun]] = {}
    for run in runs:
        groups.setdefault(json.dumps(run.model, sort_keys=True), []).append(run)
    if problems := [problem for group in groups.values() for problem in _repeated_points(group)]:
        raise RunError(problems)

    candidates = {folder.resolve() for folder in folders}
    labels = _labels([group[0].model for group in groups.values()])
    curves = [
        curve_from_points([point for run in group for point in run.measured.points], group[0].measured.bits_per_sample)
        for group in groups.values()
    ]
    wanted = {reference.resolve() for reference in references}
    referred, *others = (
        index for index, group in enumerate(groups.values()) if any(run.folder.resolve() in wanted for run in group)
    )
    if others:
        raise RunError([f"the references are {len(others) + 1} models ({labels[referred]} and {labels[others[0]]})"])
    models = []
    for group, label, curve in zip(groups.values(), labels, curves, strict=True):
        architecture = architecture_from_config(group[0].model)
        delta, gap = _compare(curve, curves[referred])
        models.append(
            Model(
                label=label,
                runs=tuple(str(run.folder) for run in group),
                curve=curve,
                bd_psnr=delta,
                gap=gap,
                architecture=architecture,
                complexity=None if architecture is None else complexity(architecture),
                candidate=any(run.folder.resolve() in candidates for run in group),
            )
        )
    ranked = sorted(models, key=_rank)
    chosen = [model for model in ranked if model.candidate and model.bd_psnr is not None]
    if not chosen:
        reasons = (f"{model.label}: {model.gap}" for model in ranked if model.candidate)
        raise RunError([f"no model has a BD-PSNR against {models[referred].label}", *reasons])
    return Selection(
        models=tuple(ranked),
        selected=chosen[0],
        reference=models[referred],
        scenes=tuple(sorted(runs[0].measured.points[0].scenes)),
        notes=_notes(ranked, runs),
    )


def curve_from_points(points: Sequence[RatePoint], bits_per_sample: int) -> Curve:
    """Average rate points over their scenes into a curve.

    The paper reports means over a test set of equal patches. Here every scene counts once, whatever its size. PSNR is
    the mean of the scenes' PSNRs in dB, not the PSNR of the mean error. CR is N_b over the mean of the scenes' rates,
    not the mean of their CRs, which one nearly empty scene would dominate. For scenes of one size, this is eq. 4 for
    all of them together.
    """
    averaged = []
    for point in points:
        scenes = point.scenes.values()
        mean_rate = sum(scene.rate_bpppb for scene in scenes) / len(scenes)
        averaged.append((bits_per_sample / mean_rate, sum(scene.psnr_db for scene in scenes) / len(scenes)))
    averaged.sort()
    return Curve(ratios=tuple(ratio for ratio, _ in averaged), psnr_db=tuple(psnr for _, psnr in averaged))


def _compare(curve: Curve, reference: Curve) -> tuple[BDPSNR | None, str | None]:
    try:
        return bd_psnr(curve, reference), None
    except CurveGapError as error:
        return None, str(error)


def _repeated_points(group: Sequence[TrainingRun]) -> list[str]:
    """Name runs of one model at one λ; two such runs are not a curve, because nobody can say which is meant."""
    seen: dict[tuple[float, float | None], Path] = {}
    problems = []
    for run in group:
        for point in run.measured.points:
            key = (point.lmbda, point.quality)
            if key in seen:
                problems.append(f"{seen[key]} and {run.folder} are one model at λ = {point.lmbda:g}; name one of them")
            seen[key] = run.folder
    return problems


_SYMBOLS = {"spatial_stages": "S", "kernel_size": "k", "latent_channels": "M", "hyperlatent_channels": "N"}


def _labels(models: Sequence[Mapping[str, object]]) -> list[str]:
    """Return a name for each model section that tells it from the others."""
    keys = sorted({key for model in models for key in model})
    missing = object()
    differing = [key for key in keys if any(model.get(key, missing) != models[0].get(key, missing) for model in models)]
    shown = [*_SYMBOLS, *(key for key in differing if key not in _SYMBOLS)]
    return [
        ", ".join(f"{_SYMBOLS.get(key, key)} = {model[key]}" for key in shown if key in model) or "model"
        for model in models
    ]


def _rank(model: Model) -> tuple[bool, float, float, str]:
    flops = float("inf") if model.complexity is None else float(model.complexity.encoder_flops)
    return model.bd_psnr is None, 0.0 if model.bd_psnr is None else -model.bd_psnr.db, flops, model.label


def _notes(models: Sequence[Model], runs: Sequence[TrainingRun]) -> tuple[str, ...]:
    notes = []
    if len({(model.bd_psnr.low, model.bd_psnr.high) for model in models if model.bd_psnr is not None}) > 1:
        notes.append("The models are compared over different ranges of CR; close values need not rank them.")
    notes += [
        f"{run.folder} was measured at step {run.measured.step} of {run.steps}."
        for run in runs
        if run.steps is not None and run.measured.step < run.steps
    ]
    return tuple(notes)
