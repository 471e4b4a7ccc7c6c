"""BD-PSNR as the seed paper defines it (eq. 6), the mean gap of two curves over the compression ratio; and BD-rate.

The PyPI package `bjontegaard` computes another BD-PSNR from the same points. Its axis is log10 of the rate, so every
doubling of the compression ratio counts alike. Eq. 6 integrates over CR itself: the stretch from CR 512 to 1,024 weighs
32 times as much as the stretch from 16 to 32. The package interpolates curves over its own axis too. The rest is equal:
SciPy's Akima piecewise cubics, integrated exactly, over the range that both curves cover. With points whose log10 rate
is our CR, the package gives our number; the tests use this. The seed paper has no BD-rate; ours is the package's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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
    """Result of eq. 6.

    Attributes:
        db: mean of PSNR_A(CR) − PSNR_B(CR) over the range.
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


def bd_psnr(curve: Curve, reference: Curve) -> BDPSNR:
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
    gap, low, high = _mean_gap("CR", *((points.ratios, points.psnr_db) for points in (curve, reference)))
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
    logs = ((points.psnr_db[::-1], tuple(-np.log(points.ratios[::-1]))) for points in (curve, reference))
    gap, low, high = _mean_gap("PSNR", *logs)
    return BDRate(percent=100 * float(np.expm1(gap)), low_db=low, high_db=high)


def _check_points(name: str, points: Curve) -> None:
    if len(points.ratios) < 2:
        count = "1 point" if points.ratios else "no points"
        raise CurveGapError(f"{name} has {count}; two are needed")


_Line = tuple[Sequence[float], Sequence[float]]
"""Ascending axis, and the values over it."""


def _mean_gap(what: str, ours: _Line, theirs: _Line) -> tuple[float, float, float]:
    """Return the mean of ours less theirs over the range of the axis that both cover, and this range."""
    from scipy.interpolate import Akima1DInterpolator

    low, high = max(ours[0][0], theirs[0][0]), min(ours[0][-1], theirs[0][-1])
    if low >= high:
        ranges = [f"{axis[0]:.4g} to {axis[-1]:.4g}" for axis, _ in (ours, theirs)]
        raise CurveGapError(f"no common range: {what} {' against '.join(ranges)}")
    # The integral of a piecewise cubic is exact except for rounding.
    areas = [float(Akima1DInterpolator(axis, values).integrate(low, high)) for axis, values in (ours, theirs)]
    return (areas[0] - areas[1]) / (high - low), low, high


def interpolate(curve: Curve, ratios: Sequence[float]) -> list[float]:
    """Return PSNR_A(CR) of eq. 6 at ratios within the curve's range."""
    from scipy.interpolate import Akima1DInterpolator

    return [float(v) for v in Akima1DInterpolator(curve.ratios, curve.psnr_db)(np.asarray(ratios, np.float64))]
