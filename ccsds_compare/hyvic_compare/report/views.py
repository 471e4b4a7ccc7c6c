"""Views of a comparison: curves of every scene, and means over scenes that the same codecs were trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from hyvic_runtime.codec.seen_scenes import Seen

from hyvic_compare.bd_psnr import BDPSNR, BDRate, Curve, CurveGapError, bd_psnr, bd_rate
from hyvic_compare.results import Comparison, Distortion, Measurement

_BD = TypeVar("_BD", BDPSNR, BDRate)
SEEN_MARK, UNKNOWN_MARK = "†", "?"
"""Marks of everything measured on a scene that the codec was trained on, or may have been trained on."""
_MARKS = {Seen.TRAINED: f" {SEEN_MARK}", Seen.UNKNOWN: f" {UNKNOWN_MARK}"}
_SAME_RATIO = 1e-3
"""Points nearer than this share of their ratio are one stream for two targets; Akima's slope between them is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A codec at a target, on one scene or as a mean over several.

    Attributes:
        target_ratio: ratio that was asked for, or None for a codec without a target.
        compression_ratio: ratio that was reached.
        psnr_db: PSNR, inf if every sample of a scene is exact.
        ssim: mean over the bands.
        spectral_angle_deg: mean over the pixels.
        max_abs_error: largest error of the scenes, in digital numbers.
    """

    target_ratio: float | None
    compression_ratio: float
    psnr_db: float
    ssim: float
    spectral_angle_deg: float
    max_abs_error: int

    @property
    def psnr_text(self) -> str:
        """PSNR for people; a mean over scenes of which some are exact is infinite too."""
        if math.isfinite(self.psnr_db):
            return f"{self.psnr_db:.2f}"
        return "some exact" if self.max_abs_error else "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One codec in one view.

    Attributes:
        codec: name of the codec.
        training: whether it was trained on the scenes of this view.
        points: points by ascending compression ratio.
        measurements: measurements that the points are made of, and those at targets that not every scene has.
    """

    codec: str
    training: Seen
    points: tuple[Point, ...]
    measurements: tuple[Measurement, ...]

    @property
    def seen(self) -> bool:
        """True if the codec was trained on the scenes."""
        return self.training is Seen.TRAINED

    @property
    def label(self) -> str:
        """Name, with a mark if the codec was trained on the scenes, or if nobody knows."""
        return self.codec + mark_of(self.training)

    @property
    def lossy(self) -> tuple[Point, ...]:
        """Points of a curve: finite, one at each ratio."""
        kept: list[Point] = []
        for point in self.points:
            if not math.isfinite(point.psnr_db):
                continue
            if kept and point.compression_ratio <= kept[-1].compression_ratio * (1 + _SAME_RATIO):
                if point.psnr_db > kept[-1].psnr_db:
                    kept[-1] = point
            else:
                kept.append(point)
        return tuple(kept)

    @property
    def exact(self) -> tuple[Point, ...]:
        """Points without any error."""
        return tuple(point for point in self.points if point.psnr_text == "exact")

    def at(self, target_ratio: float | None) -> Point | None:
        """Return the point of a target."""
        return next((point for point in self.points if point.target_ratio == target_ratio), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Curves for one choice of the scene selector.

    Attributes:
        label: text for the selector and titles.
        scenes: names of scenes; with more than one, every point is a mean.
        seen_by: codecs that were trained on these scenes.
        unknown_by: codecs of which nobody knows whether they were.
        series: one for each codec, in their order; empty for a codec without points.
    """

    label: str
    scenes: tuple[str, ...]
    seen_by: tuple[str, ...]
    unknown_by: tuple[str, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A codec's curve against the reference's.

    Attributes:
        codec: name of the codec.
        training: whether it was trained on the scenes.
        reference: name of the reference.
        points: number of points of the curve.
        bd_psnr: BD-PSNR, or None if it cannot be computed.
        bd_rate: BD-rate, or None if it cannot be computed.
        gaps: reasons for missing figures; figures may share one.
    """

    codec: str
    training: Seen
    reference: str
    points: int
    bd_psnr: BDPSNR | None
    bd_rate: BDRate | None
    gaps: tuple[str, ...]


def mark_of(training: Seen) -> str:
    """Return the mark that follows the name of a codec, after a space; empty without any."""
    return _MARKS.get(training, "")


def views_from(comparison: Comparison) -> tuple[View, ...]:
    """Return the main view, which the summary describes, then the other means, then every scene.

    A mean is over scenes that exactly the same codecs were trained on, so that it never mixes seen and unseen scenes,
    and over scenes of which the same codecs do not tell.
    These scenes can also be coded by the same codecs of ours, since one gap would leave a codec without any mean. In a
    group of one scene, this scene is the mean. If there are scenes that no codec was trained on, they are the main
    group.
    """
    places: _Places = {}
    for m in comparison.measurements:
        places.setdefault((m.scene, m.codec), []).append(m)
    group_of = {scene.name: _group(comparison, places, scene.name) for scene in comparison.scenes}
    groups: dict[_Group, list[str]] = {}
    for name, group in group_of.items():
        groups.setdefault(group, []).append(name)
    ordered = sorted(groups.items(), key=lambda item: (*map(len, item[0]), -len(item[1])))
    means = [_view(comparison, places, tuple(scenes), group) for group, scenes in ordered]
    singles = [
        _view(comparison, places, (name,), group) for name, group in group_of.items() if (name,) != means[0].scenes
    ]
    return (means[0], *(mean for mean in means[1:] if len(mean.scenes) > 1), *singles)


def deltas_of(view: View, reference: str) -> Iterator[Delta]:
    """Yield BD-PSNR and BD-rate of every other codec of the view, except lossless codecs, which have no curve."""
    other = _curve(next(series for series in view.series if series.codec == reference))
    for series in view.series:
        if series.codec == reference or (series.exact and not series.lossy):
            continue
        gaps: list[str] = []
        curve = _curve(series)
        yield Delta(
            codec=series.codec,
            training=series.training,
            reference=reference,
            points=len(curve.ratios),
            bd_psnr=_or_gap(bd_psnr, curve, other, gaps),
            bd_rate=_or_gap(bd_rate, curve, other, gaps),
            gaps=tuple(gaps),
        )


def _or_gap(difference: Callable[[Curve, Curve], _BD], curve: Curve, other: Curve, gaps: list[str]) -> _BD | None:
    try:
        return difference(curve, other)
    except CurveGapError as error:
        if str(error) not in gaps:
            gaps.append(str(error))
        return None


def default_reference(comparison: Comparison, main: View) -> str:
    """Return the codec to beat: the best at most ratios, of the codecs that are not ours."""
    others = [series for series in main.series if series.codec not in comparison.ours] or list(main.series)
    wins = dict.fromkeys((series.codec for series in others), 0)
    for ratio in comparison.ratios:
        points = [(point.psnr_db, series.codec) for series in others if (point := series.at(ratio)) is not None]
        if points:
            wins[max(points, key=lambda entry: entry[0])[1]] += 1
    return max(wins, key=lambda codec: wins[codec])


_Places = dict[tuple[str, str], list[Measurement]]
"""Measurements by scene and codec."""


_Group = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Codecs that were trained on the scenes of a mean, codecs that do not tell, and codecs of ours that gave no stream for
any of them."""


def _group(comparison: Comparison, places: _Places, scene: str) -> _Group:
    found = {codec: places.get((scene, codec), []) for codec in comparison.codecs}
    return (
        tuple(codec for codec, points in found.items() if any(m.training is Seen.TRAINED for m in points)),
        tuple(codec for codec, points in found.items() if any(m.training is Seen.UNKNOWN for m in points)),
        tuple(codec for codec in comparison.ours if all(m.gap is not None for m in found[codec])),
    )


def _view(comparison: Comparison, places: _Places, scenes: tuple[str, ...], group: _Group) -> View:
    one = len(scenes) == 1
    seen_by, unknown_by, lacking = group
    facts = [f"{SEEN_MARK} {', '.join(seen_by)} trained on {'it' if one else 'them'}"] if seen_by else []
    if unknown_by:
        facts.append(f"{UNKNOWN_MARK} unknown whether {', '.join(unknown_by)} trained on {'it' if one else 'them'}")
    if not one and not facts:
        facts.append("no codec was trained on them")
    if not one and lacking:
        facts.append(f"none can be coded by {', '.join(lacking)}")
    label = scenes[0] if one else f"Mean over {len(scenes)} scenes"
    series = []
    for codec in comparison.codecs:
        found = [m for scene in scenes for m in places.get((scene, codec), ()) if m.gap is None]
        points = _points(found, len(scenes))
        training = Seen.TRAINED if codec in seen_by else Seen.UNKNOWN if codec in unknown_by else Seen.NO
        series.append(Series(codec=codec, training=training, points=points, measurements=tuple(found)))
    return View(
        label=f"{label} ({'; '.join(facts)})" if facts else label,
        scenes=scenes,
        seen_by=seen_by,
        unknown_by=unknown_by,
        series=tuple(series),
    )


def _points(found: Sequence[Measurement], scenes: int) -> tuple[Point, ...]:
    """Return a point for each target that every scene has; means over different scenes could not be compared."""
    by_target: dict[float | None, list[tuple[float, Distortion]]] = {}
    for m in found:
        if m.fidelity is not None and m.compression_ratio is not None:
            by_target.setdefault(m.target_ratio, []).append((m.compression_ratio, m.fidelity))
    points = (_mean(target, values) for target, values in by_target.items() if len(values) == scenes)
    return tuple(sorted(points, key=lambda point: point.compression_ratio))


def _mean(target: float | None, found: Sequence[tuple[float, Distortion]]) -> Point:
    def mean(value: Callable[[Distortion], float]) -> float:
        return float(np.mean([value(fidelity) for _, fidelity in found]))

    return Point(
        target_ratio=target,
        compression_ratio=float(np.mean([ratio for ratio, _ in found])),
        psnr_db=mean(lambda f: f.psnr_db),
        ssim=mean(lambda f: f.ssim),
        spectral_angle_deg=mean(lambda f: f.spectral_angle_deg),
        max_abs_error=max(fidelity.max_abs_error for _, fidelity in found),
    )


def _curve(series: Series) -> Curve:
    points = series.lossy
    return Curve(ratios=tuple(p.compression_ratio for p in points), psnr_db=tuple(p.psnr_db for p in points))
