"""Cost of details on scenes that training never sees, at fixed quantiser steps."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hyvic_runtime.families.adaptive.coding_order import Block
from hyvic_runtime.families.adaptive.planes import Planes
from hyvic_runtime.families.adaptive.strip_basis import SpectralBasis
from torch import Tensor

from hyvic_train.data.cubes import TrainingCube
from hyvic_train.data.measured import Moments, middle, moments, spread
from hyvic_train.families.adaptive.coefficients import (
    Details,
    Rows,
    details,
    project,
    rounded,
    spectral_basis,
    visit_rows,
)
from hyvic_train.families.adaptive.context_model import ContextModel

STEPS = (10.0, 40.0, 160.0)
"""Steps of the quantiser, in digital numbers."""
ROUNDING = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStep:
    """One quantiser step on every validation scene.

    Attributes:
        quantiser_step: step in digital numbers.
        scenes: bits of all details over all samples of the scene: neither low-pass bands nor bases are counted.
    """

    quantiser_step: float
    scenes: dict[str, float]

    @property
    def bits(self) -> Moments:
        """Bits of details a sample over at least one scene."""
        return moments(list(self.scenes.values()))


def measure(model: ContextModel, scenes: Sequence[TrainingCube], components: int) -> tuple[MeasuredStep, ...]:
    """Measure the details of every scene, transformed by its own statistics and coded as one tile."""
    measured: list[dict[str, float]] = [{} for _ in STEPS]
    for scene in spread(scenes):
        cube = middle(scene.cube)
        basis = spectral_basis(cube, components)
        for (_, tile), results in zip(at_every_step(project(basis, cube), basis), measured, strict=True):
            results[scene.name] = detail_bits(model, tile) / cube.size
    return tuple(
        MeasuredStep(quantiser_step=step, scenes=results) for step, results in zip(STEPS, measured, strict=True)
    )


def at_every_step(planes: Planes, basis: SpectralBasis) -> Iterator[tuple[float, Details]]:
    """Yield STEPS, and the quantised details of components (component, line, sample) at each."""
    for step in STEPS:
        yield step, rounded(details(planes, basis, step), ROUNDING)


@torch.no_grad()
def detail_bits(model: ContextModel, tile: Details) -> float:
    """Return the bits of all details of a tile."""
    bits: list[float] = []

    def count(rows: Rows, block: Block) -> None:
        bits.append(float(rows_bits(model, rows).sum(dtype=torch.float64)))

    visit_rows(tile, count)
    return sum(bits)


def rows_bits(model: ContextModel, rows: Rows, values: Planes | None = None) -> Tensor:
    """Return the bits of every row, (row,); or of `values` in place of the rows' own, (choice, row) both."""
    contexts = torch.from_numpy(rows.contexts)[None, :, :, None]
    distributions = model(contexts, torch.from_numpy(rows.prediction)[None, :, None])
    bits = model.bits(torch.from_numpy(rows.values if values is None else values)[..., None], distributions)
    return bits.reshape(rows.values.shape if values is None else values.shape)


def mean_octaves(measured: Sequence[MeasuredStep]) -> float:
    """Average log2 of the bits over scenes and steps: every rate counts the same, as in training."""
    return statistics.fmean(float(np.log2(max(bits, 2.0**-24))) for of in measured for bits in of.scenes.values())


def json_from_measured(measured: Sequence[MeasuredStep]) -> dict[str, Any]:
    """Return the document that is kept beside the weights."""
    return {
        "points": [
            {
                "quantiser_step": of.quantiser_step,
                "scenes": {name: {"detail_bits_per_sample": bits} for name, bits in of.scenes.items()},
            }
            for of in measured
        ]
    }
