"""Metric-driven selection (seed paper, section V-A): one BD-PSNR for every model, and the best of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from hyvic_compare.bd_psnr import BDPSNR, Axis, Curve, CurveGapError, bd_psnr
from hyvic_compare.errors import RunError
from hyvic_compare.evaluation import Evaluation
from hyvic_compare.model_complexity import Architecture, Complexity, architecture_from_config, complexity
from hyvic_compare.rate_point import MeanPoint, mean_points
from hyvic_compare.reference_curve import read_reference
from hyvic_compare.training_run import TrainingRun, read_runs

Metric = Literal["bd-psnr", "bd-psnr-log-cr"]
"""Number that decides: eq. 6 of the seed paper, or the same over log CR."""
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Runs with one `model` section, at one or several λ: one rate–distortion curve. Or a published curve.

    Attributes:
        label: S, k, M and N, and everything else that differs from the other models; name of a published codec.
        runs: names of its folders, or of the file of a published curve.
        points: means over the scenes, by compression ratio; a published curve has none.
        curve: PSNR over compression ratio.
        bd_psnr: BD-PSNR over CR against the reference model, or None if it cannot be computed.
        bd_psnr_log_cr: the same over log CR.
        gap: reason why there is no BD-PSNR.
        architecture: architecture of a HyVIC model, or None for another family.
        complexity: complexity of `architecture`.
        candidate: whether it can be selected; a reference that is not among the runs cannot.
    """

    label: str
    runs: tuple[str, ...]
    points: tuple[MeanPoint, ...]
    curve: Curve
    bd_psnr: BDPSNR | None
    bd_psnr_log_cr: BDPSNR | None
    gap: str | None
    architecture: Architecture | None
    complexity: Complexity | None
    candidate: bool

    def score(self, metric: Metric) -> float | None:
        """Return the number that the metric ranks by, in dB, or None."""
        delta = self.bd_psnr if metric == "bd-psnr" else self.bd_psnr_log_cr
        return None if delta is None else delta.db


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Result of `select-model`.

    Attributes:
        metric: number that decided.
        models: all models, best first; models without a BD-PSNR last.
        selected: candidate with the highest BD-PSNR; among equals, the one that encodes with fewer FLOPs.
        reference: model that the others are compared with.
        bits_per_sample: N_b of the compression ratios.
        scenes: names of the measured scenes.
        measured_by: what measured them.
        notes: sentences that qualify the order.
    """

    metric: Metric
    models: tuple[Model, ...]
    selected: Model
    reference: Model
    bits_per_sample: int
    scenes: tuple[str, ...]
    measured_by: str
    notes: tuple[str, ...]

    @property
    def axis(self) -> Axis:
        """Axis of the number that decided."""
        return "cr" if self.metric == "bd-psnr" else "log-cr"


def select(
    folders: Sequence[Path],
    references: Sequence[Path],
    *,
    metric: Metric = "bd-psnr",
    evaluation: Path | None = None,
    reference_bits: int | None = None,
) -> Selection:
    """Rank the models of runs by BD-PSNR against a reference.

    Args:
        folders: runs to choose among.
        references: runs of the reference model, or the CSV file of a published curve (`reference_curve`). The model has
            all points of its runs, runs among `folders` too; if no run is among `folders`, it is not a candidate.
        metric: number that decides.
        evaluation: folder of `evaluate-model`, whose points take the place of the last validation's; or None.
        reference_bits: N_b of the ratios of a CSV file that does not state it.

    Raises:
        RunError: runs or reference have problems, all of which the error lists, or no model has a BD-PSNR.
    """
    published = [path for path in references if path.is_file()]
    if published and len(references) > 1:
        raise RunError([f"{published[0]} is a whole curve; name one --reference, not {len(references)}"])
    if reference_bits is not None and not published:
        raise RunError(["--reference-bits belongs to a CSV file, and no --reference is a file"])
    runs = read_runs(
        [*folders, *(path for path in references if path not in published)],
        None if evaluation is None else Evaluation(evaluation),
    )
    groups: dict[str, list[TrainingRun]] = {}
    for run in runs:
        groups.setdefault(json.dumps(run.model, sort_keys=True), []).append(run)
    if problems := [problem for group in groups.values() for problem in _repeated_points(group)]:
        raise RunError(problems)

    bits = runs[0].measured.bits_per_sample
    points = [mean_points([p for run in group for p in run.measured.points], bits) for group in groups.values()]
    labels = _labels([group[0].model for group in groups.values()])
    foreign = read_reference(published[0], wanted_bits=bits, counted_bits=reference_bits) if published else None
    referred = len(groups) if foreign else _referred(list(groups.values()), references, labels)
    reference = foreign.curve if foreign else _curve(points[referred])

    candidates = {folder.resolve() for folder in folders}
    models = [
        _model(
            label=label,
            runs=tuple(str(run.folder) for run in group),
            points=own,
            curve=_curve(own),
            reference=reference,
            architecture=architecture_from_config(group[0].model),
            candidate=any(run.folder.resolve() in candidates for run in group),
        )
        for group, label, own in zip(groups.values(), labels, points, strict=True)
    ]
    if foreign:
        file = (str(published[0]),)
        models.append(_model(label=foreign.codec, runs=file, curve=reference, reference=reference, candidate=False))
    return _ranked(models, referred, runs, metric, evaluation, [foreign.note] if foreign else [])


def _ranked(
    models: Sequence[Model],
    referred: int,
    runs: Sequence[TrainingRun],
    metric: Metric,
    evaluation: Path | None,
    notes: Sequence[str],
) -> Selection:
    orders: dict[Metric, list[Model]] = {of: sorted(models, key=lambda model: _rank(model, of)) for of in METRICS}
    chosen = {of: [m for m in order if m.candidate and m.gap is None] for of, order in orders.items()}
    if not chosen[metric]:
        reasons = (f"{model.label}: {model.gap}" for model in orders[metric] if model.candidate)
        raise RunError([f"no model has a BD-PSNR against {models[referred].label}", *reasons, *notes])
    selected = chosen[metric][0]
    others = [f"By {of}, {order[0].label} would be selected." for of, order in chosen.items() if order[0] != selected]
    return Selection(
        metric=metric,
        models=tuple(orders[metric]),
        selected=selected,
        reference=models[referred],
        bits_per_sample=runs[0].measured.bits_per_sample,
        scenes=tuple(sorted(runs[0].measured.points[0].scenes)),
        measured_by="the last validation" if evaluation is None else f"evaluate-model ({evaluation})",
        notes=(*notes, *others, *_notes(models, runs)),
    )


def _referred(groups: Sequence[Sequence[TrainingRun]], references: Sequence[Path], labels: Sequence[str]) -> int:
    """Return the number of the model that the references are runs of."""
    wanted = {reference.resolve() for reference in references}
    index, *others = (n for n, group in enumerate(groups) if any(run.folder.resolve() in wanted for run in group))
    if others:
        raise RunError([f"the references are {len(others) + 1} models ({labels[index]} and {labels[others[0]]})"])
    return index


def _curve(points: Sequence[MeanPoint]) -> Curve:
    return Curve(
        ratios=tuple(point.compression_ratio for point in points), psnr_db=tuple(point.psnr_db for point in points)
    )


def _model(
    *,
    label: str,
    runs: tuple[str, ...],
    points: tuple[MeanPoint, ...] = (),
    curve: Curve,
    reference: Curve,
    architecture: Architecture | None = None,
    candidate: bool,
) -> Model:
    gap, over_cr, over_log_cr = None, None, None
    try:
        over_cr, over_log_cr = bd_psnr(curve, reference), bd_psnr(curve, reference, "log-cr")
    except CurveGapError as error:
        gap = str(error)
    return Model(
        label=label,
        runs=runs,
        points=points,
        curve=curve,
        bd_psnr=over_cr,
        bd_psnr_log_cr=over_log_cr,
        gap=gap,
        architecture=architecture,
        complexity=None if architecture is None else complexity(architecture),
        candidate=candidate,
    )


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


def _rank(model: Model, metric: Metric) -> tuple[bool, float, float, str]:
    score = model.score(metric)
    flops = float("inf") if model.complexity is None else float(model.complexity.encoder_flops)
    return score is None, 0.0 if score is None else -score, flops, model.label


def _notes(models: Sequence[Model], runs: Sequence[TrainingRun]) -> tuple[str, ...]:
    notes = []
    compared = [model.bd_psnr for model in models if model.bd_psnr is not None and model.candidate]
    if len({(delta.low, delta.high) for delta in compared}) > 1:
        notes.append("The models are compared over different ranges of CR; close values need not rank them.")
    notes += [
        f"{run.folder} was measured at step {run.measured.step} of {run.steps}."
        for run in runs
        if run.steps is not None and run.measured.step < run.steps
    ]
    return tuple(notes)
