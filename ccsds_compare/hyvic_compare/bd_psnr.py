"""BD-PSNR as the seed paper defines it (eq. 6), the same over the logarithm of the ratio, and BD-rate.

Eq. 6 integrates over the compression ratio itself: the stretch from CR 512 to 1,024 weighs 32 times as much as the
stretch from 16 to 32. Bjøntegaard's BD-PSNR (VCEG-M33) and the PyPI package `bjontegaard` integrate over the logarithm
of the rate, so every doubling of the ratio counts alike. Both are here; each interpolates over its own axis. The rest
is equal: SciPy's Akima piecewise cubics, integrated exactly, over the range that both curves cover. The tests hold both
axes against the package. The seed paper has no BD-rate; ours is the package's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Axis = Literal["cr", "log-cr"]
"""Axis of a mean gap: the compression ratio, as eq. 6 has it, or its logarithm."""


class CurveGapError(ValueError):
    """Two curves have no BD-PSNR or BD-rate; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Rate–distortion points of one codec.

    Attributes:
        ratios: compression ratios, ascending.
        psnr_db: PSNR at each ratio.
    """

    ratios: tuple[float, ...]
    psnr_db: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.ratios) != len(self.psnr_db):
            raise ValueError(f"{len(self.ratios)} ratios for {len(self.psnr_db)} PSNRs")
        if list(self.ratios) != sorted(self.ratios):
            raise ValueError("the ratios of a curve must ascend")


@dataclass(frozen=True, slots=True, kw_only=True)
class BDPSNR:
    """Result of eq. 6, or of the same over log CR.

    Attributes:
        db: mean of PSNR_A − PSNR_B over the range, in dB.
        low: CR_min, the larger of the curves' lowest ratios.
        high: CR_max, the smaller of the curves' highest ratios.
    """

    db: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BDRate:
    """BD-rate (Bjøntegaard, VCEG-M33), by Akima's interpolation.

    Attributes:
        percent: additional octets of a curve at equal PSNR, in percent of the reference's; negative if it takes fewer.
        low_db: lowest PSNR that both curves cover.
        high_db: highest PSNR that both curves cover.
    """

    percent: float
    low_db: float
    high_db: float


def bd_psnr(curve: Curve, reference: Curve, axis: Axis = "cr") -> BDPSNR:
    """Return the BD-PSNR of `curve` against `reference`; positive if `curve` is better.

    Nothing is extrapolated. Akima's interpolation of two points is the line through them; one point spans no
    range and has no BD-PSNR.

    >>> reference = Curve(ratios=(10, 20), psnr_db=(50, 40))
    >>> bd_psnr(Curve(ratios=(15, 30), psnr_db=(46, 31)), reference)
    BDPSNR(db=1.0, low=15, high=20)

    Raises:
        CurveGapError: fewer than two points, two points at one ratio, or no common range.
    """
    for name, points in (("the curve", curve), ("the reference", reference)):
        _check_points(name, points)
        if len(set(points.ratios)) < len(points.ratios):
            raise CurveGapError(f"{name} has two points at one compression ratio")
    low, high = _common_range("CR", curve.ratios, reference.ratios)
    ours, theirs = ((_along(axis, points.ratios), points.psnr_db) for points in (curve, reference))
    gap = _mean_gap(ours, theirs, *_along(axis, (low, high)))
    return BDPSNR(db=gap, low=low, high=high)


def bd_rate(curve: Curve, reference: Curve) -> BDRate:
    """Return the BD-rate of `curve` against `reference`: the mean over PSNR of the logarithm of the rates' quotient.

    Nothing is extrapolated. A rate is the inverse of a compression ratio, except for a factor that cancels.

    Raises:
        CurveGapError: fewer than two points, a PSNR that does not fall as the ratio rises, or no common range.
    """
    for name, points in (("the curve", curve), ("the reference", reference)):
        _check_points(name, points)
        if (np.diff(points.psnr_db) >= 0).any():
            raise CurveGapError(f"the PSNR of {name} does not fall from each compression ratio to the next")
    # In order of rising PSNR.
    ours, theirs = (
        (points.psnr_db[::-1], [-log for log in _along("log-cr", points.ratios[::-1])]) for points in (curve, reference)
    )
    low, high = _common_range("PSNR", ours[0], theirs[0])
    gap = _mean_gap(ours, theirs, low, high)
    return BDRate(percent=100 * float(np.expm1(gap)), low_db=low, high_db=high)


def _check_points(name: str, points: Curve) -> None:
    if len(points.ratios) < 2:
        count = "1 point" if points.ratios else "no points"
        raise CurveGapError(f"{name} has {count}; two are needed")


def _along(axis: Axis, ratios: Sequence[float]) -> list[float]:
    values = np.asarray(ratios, np.float64)
    return [float(value) for value in (np.log(values) if axis == "log-cr" else values)]


def _common_range(what: str, ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Return the range that two ascending axes share."""
    low, high = max(ours[0], theirs[0]), min(ours[-1], theirs[-1])
    if low >= high:
        ranges = [f"{axis[0]:.4g} to {axis[-1]:.4g}" for axis in (ours, theirs)]
        raise CurveGapError(f"no common range: {what} {' against '.join(ranges)}")
    return low, high


_Line = tuple[Sequence[float], Sequence[float]]
"""Ascending axis, and the values over it."""


def _mean_gap(ours: _Line, theirs: _Line, low: float, high: float) -> float:
    """Return the mean of ours less theirs from `low` to `high`, which both cover."""
    from scipy.interpolate import Akima1DInterpolator

    # The integral of a piecewise cubic is exact except for rounding.
    areas = [float(Akima1DInterpolator(axis, values).integrate(low, high)) for axis, values in (ours, theirs)]
    return (areas[0] - areas[1]) / (high - low)


def interpolate(curve: Curve, ratios: Sequence[float], axis: Axis = "cr") -> list[float]:
    """Return PSNR_A of eq. 6, or its form over log CR, at ratios within the curve's range."""
    from scipy.interpolate import Akima1DInterpolator

    spline = Akima1DInterpolator(_along(axis, curve.ratios), curve.psnr_db)
    return [float(value) for value in spline(np.asarray(_along(axis, ratios)))]
