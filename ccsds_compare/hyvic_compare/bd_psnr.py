"""BD-PSNR as the seed paper defines it (eq. 6): the mean gap between two curves over the compression ratio.

The PyPI package `bjontegaard` computes another number from the same points. Its axis is log10 of the rate, so every
doubling of the compression ratio counts alike, where eq. 6 integrates over CR itself: the stretch from CR 512 to
1,024 weighs 32 times as much as that from 16 to 32. Its curves are interpolated over that axis too. The rest is the
same: SciPy's Akima piecewise cubics, integrated exactly, over the range that both curves cover. Handed points whose
log10 rate is our CR, it gives our number, which the tests use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


class CurveGapError(ValueError):
    """Two curves have no BD-PSNR; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Rate–distortion points of one codec.

    Attributes:
        ratios: compression ratios, ascending.
        psnr_db: PSNR at each.
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
    """Eq. 6.

    Attributes:
        db: mean of PSNR_A(CR) − PSNR_B(CR) over the range.
        low: CR_min, the larger of the curves' lowest ratios.
        high: CR_max, the smaller of their highest.
    """

    db: float
    low: float
    high: float


def bd_psnr(curve: Curve, reference: Curve) -> BDPSNR:
    """BD-PSNR of `curve` against `reference`; positive where `curve` is better.

    Nothing is extrapolated. Akima's interpolation of two points is the line through them; one point spans no
    range and has no BD-PSNR.

    Raises:
        CurveGapError: fewer than two points, two points at one ratio, or no common range.
    """
    for name, points in (("the curve", curve), ("the reference", reference)):
        if len(points.ratios) < 2:
            raise CurveGapError(f"{name} has {len(points.ratios)} point; BD-PSNR needs at least 2")
        if len(set(points.ratios)) < len(points.ratios):
            raise CurveGapError(f"{name} has two points at one compression ratio")
    low = max(curve.ratios[0], reference.ratios[0])
    high = min(curve.ratios[-1], reference.ratios[-1])
    if low >= high:
        raise CurveGapError(
            f"no common range: CR {curve.ratios[0]:.4g} to {curve.ratios[-1]:.4g} against "
            f"{reference.ratios[0]:.4g} to {reference.ratios[-1]:.4g}"
        )
    areas = [_area(points.ratios, points.psnr_db, low, high) for points in (curve, reference)]
    return BDPSNR(db=(areas[0] - areas[1]) / (high - low), low=low, high=high)


def interpolate(curve: Curve, ratios: Sequence[float]) -> list[float]:
    """PSNR_A(CR) of eq. 6 at ratios within the curve's range."""
    from scipy.interpolate import Akima1DInterpolator

    return [float(v) for v in Akima1DInterpolator(curve.ratios, curve.psnr_db)(np.asarray(ratios, np.float64))]


def _area(ratios: Sequence[float], psnr_db: Sequence[float], low: float, high: float) -> float:
    from scipy.interpolate import Akima1DInterpolator

    # A piecewise cubic's integral is exact but for rounding.
    return float(Akima1DInterpolator(ratios, psnr_db).integrate(low, high))
