"""What details cost on scenes that training never sees, at fixed quantiser steps."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hyvic_runtime.families.adaptive.planes import Planes
from torch import Tensor

from hyvic_train.data.cubes import TrainingCube
from hyvic_train.families.adaptive.coefficients import (
    Details,
    Rows,
    details,
    rounded,
    rows_in_order,
    spectral_transform,
)
from hyvic_train.families.adaptive.context_model import ContextModel
from hyvic_train.validation import MAX_SCENES, MAX_SIDE, spread

STEPS = (10.0, 40.0, 160.0)
"""Of the quantiser, in digital numbers."""
ROUNDING = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStep:
    """One quantiser step on every validation scene.

    Attributes:
        quantiser_step: in digital numbers.
        scenes: bits of all details over all samples of the scene: neither approximations nor bases are counted.
    """

    quantiser_step: float
    scenes: dict[str, float]


def measure(model: ContextModel, scenes: Sequence[TrainingCube], components: int) -> tuple[MeasuredStep, ...]:
    """Bits of the details of every scene, transformed by its own statistics and coded as one tile."""
    measured: list[dict[str, float]] = [{} for _ in STEPS]
    for scene in spread(scenes, MAX_SCENES):
        cube = _middle(scene.cube)
        transform = spectral_transform(cube, components)
        planes = transform.components(cube)
        for step, results in zip(STEPS, measured, strict=True):
            results[scene.name] = (
                detail_bits(model, rounded(details(planes, transform.spread, step), ROUNDING)) / cube.size
            )
    return tuple(
        MeasuredStep(quantiser_step=step, scenes=results) for step, results in zip(STEPS, measured, strict=True)
    )


@torch.no_grad()
def detail_bits(model: ContextModel, of: Details) -> float:
    """Bits of all details of a tile."""
    return sum(float(rows_bits(model, rows).sum(dtype=torch.float64)) for rows in rows_in_order(of))


def rows_bits(model: ContextModel, rows: Rows, values: Planes | None = None) -> Tensor:
    """Bits of every row, (row,); or of `values` in place of the rows' own, (choice, row) both."""
    contexts = torch.from_numpy(rows.contexts)[None, :, :, None]
    distributions = model(contexts, torch.from_numpy(rows.prediction)[None, :, None])
    bits = model.bits(torch.from_numpy(rows.values if values is None else values)[..., None], distributions)
    return bits.reshape(rows.values.shape if values is None else values.shape)


def mean_octaves(measured: Sequence[MeasuredStep]) -> float:
    """Mean of log2 of the bits over scenes and steps: every rate counts alike, as in training."""
    return statistics.fmean(float(np.log2(max(bits, 2.0**-24))) for of in measured for bits in of.scenes.values())


def json_from_measured(measured: Sequence[MeasuredStep]) -> dict[str, Any]:
    """The document that is kept beside the weights."""
    return {
        "points": [
            {
                "quantiser_step": of.quantiser_step,
                "scenes": {name: {"detail_bits_per_sample": bits} for name, bits in of.scenes.items()},
            }
            for of in measured
        ]
    }


def _middle(cube: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """At most MAX_SIDE lines and samples."""
    for axis in (1, 2):
        start = max((cube.shape[axis] - MAX_SIDE) // 2, 0)
        cube = cube.take(range(start, min(start + MAX_SIDE, cube.shape[axis])), axis=axis)
    return cube
