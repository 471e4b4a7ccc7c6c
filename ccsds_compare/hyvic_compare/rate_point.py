"""Operating points of a codec, with what it reached on each scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, FiniteFloat

PositiveFinite = Annotated[FiniteFloat, Field(gt=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneMeasure:
    """Rate and distortion of one scene.

    Attributes:
        rate_bpppb: bits per pixel per band.
        psnr_db: PSNR over the sensor's range.
        ssim: SSIM; None where only rate and PSNR were measured.
        spectral_angle_deg: spectral angle in degrees, or None likewise.
    """

    rate_bpppb: PositiveFinite
    psnr_db: FiniteFloat
    ssim: FiniteFloat | None = None
    spectral_angle_deg: FiniteFloat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePoint:
    """One λ, or one quality of a variable-rate model.

    Attributes:
        lmbda: λ of eq. 2.
        quality: quality of a variable-rate model, or None.
        scenes: measures by scene name.
    """

    lmbda: PositiveFinite
    quality: FiniteFloat | None = None
    scenes: Annotated[Mapping[str, SceneMeasure], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanPoint:
    """Means over the scenes of one rate point.

    Attributes:
        lmbda: λ of eq. 2.
        quality: quality of a variable-rate model, or None.
        compression_ratio: N_b over the mean rate.
        psnr_db: mean PSNR.
        ssim: mean SSIM, or None if it was not measured.
        spectral_angle_deg: mean spectral angle in degrees, or None likewise.
    """

    lmbda: float
    quality: float | None
    compression_ratio: float
    psnr_db: float
    ssim: float | None
    spectral_angle_deg: float | None


def mean_points(points: Sequence[RatePoint], bits_per_sample: int) -> tuple[MeanPoint, ...]:
    """Average rate points over their scenes, and order them by compression ratio.

    The paper reports means over a test set of equal patches. Here every scene counts once, whatever its size. PSNR is
    the mean of the scenes' PSNRs in dB, not the PSNR of the mean error. CR is N_b over the mean of the scenes' rates,
    not the mean of their CRs, which one nearly empty scene would dominate. For scenes of one size, this is eq. 4 for
    all of them together.
    """
    averaged = [
        MeanPoint(
            lmbda=point.lmbda,
            quality=point.quality,
            compression_ratio=bits_per_sample / _mean([scene.rate_bpppb for scene in scenes]),
            psnr_db=_mean([scene.psnr_db for scene in scenes]),
            ssim=_mean_or_none([scene.ssim for scene in scenes]),
            spectral_angle_deg=_mean_or_none([scene.spectral_angle_deg for scene in scenes]),
        )
        for point in points
        for scenes in (tuple(point.scenes.values()),)
    ]
    return tuple(sorted(averaged, key=lambda point: (point.compression_ratio, point.psnr_db)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known) if len(known) == len(values) else None
