"""The part of a data set that a validation measures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyvic_train.data.cubes import TrainingCube

MAX_SCENES = 256
"""Number of scenes that are measured of a larger set, evenly spread: a validation must not cost more than the steps
between two validations."""

MAX_SIDE = 256
"""Number of lines and samples that are measured of a larger scene, in its middle: whole swaths do not fit a network's
memory."""

SINGLE_SCENES = 8
"""Most scenes that curves, figures and the summary name one by one; of more they give mean and deviation. The log and
rd.json hold every scene."""


def spread(scenes: Sequence[TrainingCube], count: int = MAX_SCENES) -> list[TrainingCube]:
    """Return at most `count` scenes, evenly spread."""
    count = min(count, len(scenes))
    return [scenes[index * len(scenes) // count] for index in range(count)]


def middle(cube: NDArray[np.float32], cell: int = 1) -> NDArray[np.float32]:
    """Cut a cube (band, line, sample) to a multiple of `cell` lines and samples, at most MAX_SIDE of its middle."""
    for axis in (1, 2):
        size = min(cube.shape[axis] // cell, MAX_SIDE // cell) * cell
        start = (cube.shape[axis] - size) // 2 if cube.shape[axis] > MAX_SIDE else 0
        cube = cube.take(range(start, start + size), axis=axis)
    return cube


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Mean and standard deviation over scenes.

    Attributes:
        mean: mean; infinite if one value is, such as the PSNR of a scene without an error.
        deviation: standard deviation of these scenes (no estimate for others); NaN if one value is infinite.
    """

    mean: float
    deviation: float


def moments(values: Sequence[float]) -> Moments:
    """Return the moments of at least one value."""
    finite = all(math.isfinite(value) for value in values)
    return Moments(mean=statistics.fmean(values), deviation=statistics.pstdev(values) if finite else math.nan)
