"""Rate and distortion on scenes that training never sees, at every rate level."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hyvic_train.data.cubes import TrainingCube
from hyvic_train.data.measured import SINGLE_SCENES, Moments, middle, moments, spread
from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.families.latent.objective import RateDistortion, level_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """One rate level on every validation scene.

    Attributes:
        lmbda: λ of the level.
        quality: the level as `encode-scene --quality` counts it, 0 … 100.
        scenes: results by scene, measured with real rounding; the rate is the entropy model's.
    """

    lmbda: float
    quality: float
    scenes: dict[str, RateDistortion]

    @property
    def rate(self) -> Moments:
        """Rate over at least one scene, in bits per pixel per band."""
        return moments([result.rate_bpppb for result in self.scenes.values()])

    def psnr(self, peak: float) -> Moments:
        """Return the PSNR over at least one scene, in dB."""
        return moments([result.psnr(peak) for result in self.scenes.values()])

    @property
    def compression_ratio(self) -> float:
        """Compression ratio of the mean rate."""
        return RateDistortion(rate_bpppb=self.rate.mean, mse=0).compression_ratio


def quality_of_level(level: int, rates: int) -> float:
    """Return 0 for the lowest rate level, 100 for the highest and for the only one."""
    return 100 * level / (rates - 1) if rates > 1 else 100.0


@torch.no_grad()
def validate(model: CodecModel, scenes: Sequence[TrainingCube], lmbdas: Sequence[float]) -> tuple[OperatingPoint, ...]:
    """Measure every rate level on the whole cells of each scene."""
    was_training = model.training
    model.eval()
    measured: list[dict[str, RateDistortion]] = [{} for _ in lmbdas]
    for scene in spread(scenes):
        x = model.batch_of(middle(scene.cube, model.config.cell))
        for level, results in enumerate(measured):
            output = model(x, x.new_full((1,), level))
            results[scene.name] = RateDistortion(
                rate_bpppb=float(output.bits().sum()) / x.numel(),
                mse=float((x - output.reconstruction).square().mean()),
            )
    model.train(was_training)
    return tuple(
        OperatingPoint(lmbda=lmbda, quality=quality_of_level(level, len(lmbdas)), scenes=results)
        for level, (lmbda, results) in enumerate(zip(lmbdas, measured, strict=True))
    )


def validation_loss(points: Sequence[OperatingPoint]) -> float:
    """Average eq. 2 over scenes and levels, with the weights of training."""
    weights = level_weights([point.lmbda for point in points])
    return statistics.fmean(
        weight * result.loss(point.lmbda)
        for weight, point in zip(weights, points, strict=True)
        for result in point.scenes.values()
    )


def json_from_points(points: Sequence[OperatingPoint], peak: float) -> dict[str, Any]:
    """Return the document that select-model reads; `bits_per_sample` is the N_b of the compression ratio."""
    return {
        "bits_per_sample": 16,
        "points": [
            {
                "lmbda": point.lmbda,
                "quality": point.quality,
                "scenes": {
                    name: {"rate_bpppb": r.rate_bpppb, "mse": r.mse, "psnr_db": r.psnr(peak)}
                    for name, r in point.scenes.items()
                },
            }
            for point in points
        ],
    }


def curves_of_points(points: Sequence[OperatingPoint], peak: float) -> dict[str, float]:
    """Return curves for TensorBoard by name: means over scenes at every λ, and each scene where they are few."""
    curves = {}
    for point in points:
        if point.scenes:
            name = f"λ {point.lmbda:g}"
            curves[f"validation, mean/rate, {name}"] = point.rate.mean
            curves[f"validation, mean/PSNR, {name}"] = point.psnr(peak).mean
            losses = [result.loss(point.lmbda) for result in point.scenes.values()]
            curves[f"validation, mean/loss, {name}"] = statistics.fmean(losses)
    for point, scene, result in _singles(points):
        curves[f"{scene}/rate, λ {point.lmbda:g}"] = result.rate_bpppb
        curves[f"{scene}/PSNR, λ {point.lmbda:g}"] = result.psnr(peak)
    return curves


def summary_of_points(points: Sequence[OperatingPoint], peak: float) -> list[str]:
    """Return lines for a reader: mean ± deviation over several scenes at every λ, and each scene where they are few."""
    lines = []
    for point in points:
        if len(point.scenes) > 1:
            rate, psnr = point.rate, point.psnr(peak)
            lines.append(
                f"mean of {len(point.scenes)} scenes, λ {point.lmbda:g}: {rate.mean:.4f} ± {rate.deviation:.4f} bit, "
                f"CR {point.compression_ratio:.0f}, {psnr.mean:.2f} ± {psnr.deviation:.2f} dB"
            )
    return lines + [
        f"{name}, λ {point.lmbda:g}: {r.rate_bpppb:.4f} bit, CR {r.compression_ratio:.0f}, {r.psnr(peak):.2f} dB"
        for point, name, r in _singles(points)
    ]


def _singles(points: Sequence[OperatingPoint]) -> Iterator[tuple[OperatingPoint, str, RateDistortion]]:
    """Yield every scene of every point if the scenes are few."""
    for point in points:
        if len(point.scenes) <= SINGLE_SCENES:
            for name, result in point.scenes.items():
                yield point, name, result
