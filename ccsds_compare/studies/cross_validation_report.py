"""Findings of a cross-validation: a table for documents, its points, and a plot."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from hyvic_compare.bd_psnr import Curve, CurveGapError, bd_psnr, bd_rate, interpolate
from hyvic_compare.codec_choice import CODECS
from hyvic_compare.report.codec_style import INK, QUIET, codec_styles
from hyvic_compare.report.summary import ratio_text, words
from hyvic_compare.results_file import RecordedPoint, RecordedScene
from hyvic_runtime.codec.seen_scenes import Seen

from studies.harness import CodedPoint, or_dash, shape_text, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCES: Mapping[str, tuple[str, ...]] = {
    CODECS["pca-jpeg2000"].name: (CODECS["pca-jpeg2000"].name,),
    CODECS["jpeg2000"].name: (CODECS["jpeg2000"].name,),
    "CCSDS-123 near-lossless": tuple(
        CODECS[f"ccsds123-{coder}"].name for coder in ("hybrid", "block-adaptive", "sample-adaptive")
    ),
}
"""Codecs to compare with; of several codecs under one name, the best at each target counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedScene:
    """A scene at several qualities.

    Attributes:
        record: record of the comparison.
        bundle: name of the bundle that coded it.
        training: part that it had in the bundle's training.
        points: coded points by rising compression ratio.
    """

    record: RecordedScene
    bundle: str
    training: Seen
    points: tuple[CodedPoint, ...]

    @property
    def curve(self) -> Curve:
        """PSNR by compression ratio."""
        return Curve(
            ratios=tuple(point.compression_ratio for point in self.points),
            psnr_db=tuple(point.psnr_db for point in self.points),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """One scene against one reference.

    Attributes:
        scene: name of the scene.
        sensor: name of its sensor, or None if unknown.
        shape: lines, samples, bands.
        bundle: name of the bundle that coded it.
        training: part that it had in the bundle's training.
        reference: key of REFERENCES.
        bd_psnr_db: eq. 6 over the ratios that both reach; None if there are no such ratios.
        bd_rate_percent: octets at equal PSNR beyond the reference's; None if there is no common PSNR.
        at: bundle's PSNR above the reference's, at the octets that the reference took for a target ratio; None if the
            reference has no stream there, or the bundle has no stream of this length.
    """

    scene: str
    sensor: str | None
    shape: tuple[int, int, int]
    bundle: str
    training: Seen
    reference: str
    bd_psnr_db: float | None
    bd_rate_percent: float | None
    at: dict[float, float | None]


def gains_of(scenes: Sequence[CodedScene]) -> list[Gain]:
    """Return the gains of all scenes against all references, reference by reference."""
    targets = sorted({point.target_ratio for scene in scenes for point in scene.record.points})
    return [_gain(scene, name, targets) for name in REFERENCES for scene in scenes]


def _gain(scene: CodedScene, reference: str, targets: Sequence[float]) -> Gain:
    theirs = scene.record.best(REFERENCES[reference])
    curve = scene.curve
    # One stream may meet two targets, and an exact one has no PSNR.
    by_ratio = {point.compression_ratio: point.psnr_db for point in theirs.values() if math.isfinite(point.psnr_db)}
    ratios = sorted(by_ratio)
    their_curve = Curve(ratios=tuple(ratios), psnr_db=tuple(by_ratio[ratio] for ratio in ratios))
    return Gain(
        scene=scene.record.name,
        sensor=scene.record.sensor,
        shape=scene.record.shape,
        bundle=scene.bundle,
        training=scene.training,
        reference=reference,
        bd_psnr_db=_or_none(lambda: bd_psnr(curve, their_curve).db),
        bd_rate_percent=_or_none(lambda: bd_rate(curve, their_curve).percent),
        at={target: _difference(curve, theirs.get(target)) for target in targets},
    )


def _difference(curve: Curve, theirs: RecordedPoint | None) -> float | None:
    if theirs is None or not curve.ratios[0] <= theirs.compression_ratio <= curve.ratios[-1]:
        return None
    # Ratios about double from one point to the next, so over their logarithm the curve bends least.
    logarithmic = Curve(ratios=tuple(np.log2(curve.ratios).tolist()), psnr_db=curve.psnr_db)
    difference = interpolate(logarithmic, [math.log2(theirs.compression_ratio)])[0] - theirs.psnr_db
    return difference if math.isfinite(difference) else None


def _or_none(figure: Callable[[], float]) -> float | None:
    try:
        return figure()
    except CurveGapError:
        return None


def markdown_report(scenes: Sequence[CodedScene], gains: Sequence[Gain]) -> str:
    """Return a table for each reference: a row for each scene, then the least and the mean of every column."""
    peaks = " or ".join(f"{peak:,g}" for peak in sorted({scene.record.peak for scene in scenes}))
    text = (
        "Each cell is the PSNR of the scene-adaptive codec minus the PSNR of the other codec "
        f"(peak {peaks}). Both are compared at the size that the other codec needed for the ratio of the column. "
        f"Streams are real packets with all headers. {_training_text(scenes)} "
        "BD-PSNR is the mean difference over the compression ratio itself, not over its logarithm, so high ratios "
        "weigh most. BD-rate is the mean difference in octets at equal PSNR. A dash means that one of the two codecs "
        "has no stream there.\n"
    )
    for reference in REFERENCES:
        own = [gain for gain in gains if gain.reference == reference]
        targets = list(own[0].at)
        columns = [[gain.bd_rate_percent for gain in own], [gain.bd_psnr_db for gain in own]]
        columns += [[gain.at[target] for gain in own] for target in targets]
        headings = ("scene", "shape", "bundle", "BD-rate", "BD-PSNR", *map(ratio_text, targets))
        rows = [
            (gain.scene, shape_text(gain.shape), gain.bundle.removesuffix(".bundle"), *_cells(values))
            for gain, *values in zip(own, *columns, strict=True)
        ]
        known = [[value for value in column if value is not None] for column in columns]
        worst = [max(known[0], default=None), *(min(column, default=None) for column in known[1:])]
        means = [statistics.fmean(column) if column else None for column in known]
        rows += [("**least**", "", "", *_cells(worst)), ("**mean**", "", "", *_cells(means))]
        text += f"\n**Against {reference}**, in dB:\n\n{table(headings, rows, words=3)}"
    return text


def _training_text(scenes: Sequence[CodedScene]) -> str:
    """Say for which scenes it was checked that the bundle was not trained on them."""
    unknown = [scene for scene in scenes if scene.training is Seen.UNKNOWN]
    measured = [scene.record.name for scene in scenes if scene.training is Seen.MEASURED]
    text = "Each scene was coded by a bundle whose list of training scenes does not hold its pixels"
    if unknown:
        names = words([scene.record.name for scene in unknown])
        bundles = words(list(dict.fromkeys(scene.bundle for scene in unknown)))
        text += (
            f", except {names}: **unknown**, because {bundles} came without a complete list, and only --fold says that "
            "the training left them out"
        )
    text += "."
    if measured:
        text += f" {words(measured)} validated the training, which may have chosen its weights by them."
    return text


def _cells(values: Sequence[float | None]) -> list[str]:
    """Return the texts of a row: BD-rate in percent, then dB."""
    rate, *levels = values
    return ["–" if rate is None else f"{rate:+.0f} %", *(or_dash(db, "+.2f") for db in levels)]


def write_points(scenes: Sequence[CodedScene], path: Path) -> None:
    """Write a CSV file with a row for each stream."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("scene", "bundle", *(field.name for field in fields(CodedPoint))))
        writer.writerows(
            (scene.record.name, scene.bundle, *astuple(point)) for scene in scenes for point in scene.points
        )


def figure_of(gains: Sequence[Gain]) -> Figure:
    """Draw the gain in PSNR over the compression ratio, and the octets saved, against the first reference."""
    from matplotlib.figure import Figure

    reference = next(iter(REFERENCES))
    own = [gain for gain in gains if gain.reference == reference]
    sensors = list(dict.fromkeys(gain.sensor or "unknown sensor" for gain in own))
    colours = {sensor: style.colour for sensor, style in codec_styles(sensors).items()}
    figure = Figure(figsize=(13, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_gains(left, own, colours, reference)
    _draw_savings(right, own, colours, reference)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False, fontsize=10)
    return figure


def _draw_gains(axes: Axes, gains: Sequence[Gain], colours: Mapping[str, str], reference: str) -> None:
    targets = list(gains[0].at)
    for gain in gains:
        points = [(target, db) for target, db in gain.at.items() if db is not None]
        sensor = gain.sensor or "unknown sensor"
        axes.plot(
            [ratio for ratio, _ in points], [db for _, db in points], color=colours[sensor], linewidth=1.3, alpha=0.65
        )
    means = []
    for target in targets:
        known = [db for gain in gains for db in [gain.at[target]] if db is not None]
        means.append(statistics.fmean(known) if known else math.nan)
    axes.plot(targets, means, "o-", color=INK, linewidth=3, markersize=6, label=f"mean of {len(gains)} scenes")
    for sensor, colour in colours.items():
        axes.plot([], [], color=colour, linewidth=2, label=sensor)
    axes.axhline(0, color=QUIET, linewidth=2)
    axes.annotate(reference, (targets[-1], 0), (0, 3), textcoords="offset points", ha="right", va="bottom", color=QUIET)
    axes.set_xscale("log", base=2)
    axes.set_xticks(targets, [ratio_text(target) for target in targets])
    axes.set_xlabel("compression ratio")
    axes.set_ylabel("PSNR gained, dB")
    axes.set_title(f"Scene-adaptive codec above {reference}, at equal octets", loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_savings(axes: Axes, gains: Sequence[Gain], colours: Mapping[str, str], reference: str) -> None:
    known = [(-gain.bd_rate_percent, gain) for gain in gains if gain.bd_rate_percent is not None]
    known.sort(key=lambda pair: pair[0])
    names = [gain.scene for _, gain in known]
    savings = [saving for saving, _ in known]
    bars = axes.barh(names, savings, color=[colours[gain.sensor or "unknown sensor"] for _, gain in known], height=0.72)
    axes.bar_label(bars, [f"{saving:.0f} %" for saving in savings], padding=3, fontsize=8, color=INK)
    axes.axvline(0, color=QUIET, linewidth=2)
    axes.margins(x=0.14)
    axes.tick_params(axis="y", labelsize=8, length=0)
    axes.set_xlabel("fewer octets, %")
    axes.set_title(f"Octets saved at the PSNR of {reference}", loc="left", fontsize=11)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right", "left"]].set_visible(False)
