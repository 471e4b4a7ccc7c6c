"""Samples of gradient steps: a function of (seed, step) alone, so a resumed run repeats an uninterrupted one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from hyvic_runtime.errors import SceneError
from hyvic_runtime.families.adaptive.strip_basis import SpectralBasis

from hyvic_train.data.crops import augmented
from hyvic_train.data.cubes import TrainingCube
from hyvic_train.families.adaptive.coefficients import (
    Bits,
    Choice,
    Rows,
    all_rows,
    details,
    project,
    rounded,
    rounded_for_less,
    spectral_basis,
)
from hyvic_train.families.adaptive.config import AdaptiveTrainingConfig

_SAMPLES, _CALIBRATION = 1, 2  # two families of random streams that share no number
_MOST_DRAWS = 100
_HELD_BASES = 64
_CHANCE_OF_BLOCK = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some coefficients of a crop.

    Attributes:
        rows: the coefficients with their contexts.
        weight: number of the crop's coefficients for each row.
    """

    rows: Rows
    weight: float


class Samples:
    """Samples of scenes.

    Some coefficients of a crop are taken at random, at a random step of the quantiser. Half of the crops are
    transformed by their own statistics and half by those of the whole scene: a strip is longer than a tile, and the
    sensor decides how much longer.
    """

    def __init__(self, cubes: Sequence[TrainingCube], config: AdaptiveTrainingConfig) -> None:
        self._cubes, self._config = cubes, config
        self._basis_of_scene = lru_cache(_HELD_BASES)(self._basis)

    def of_step(self, step: int, bits: Bits | None = None) -> Sample:
        """Return the sample of a gradient step.

        Args:
            step: gradient steps done before.
            bits: code lengths by which an encoder rounds; None: each coefficient is rounded for itself.
        """
        return self._sample(np.random.default_rng((_SAMPLES, self._config.optimisation.seed, step)), bits)

    def for_calibration(self, number: int) -> Sample:
        """Return another sample, which no step sees."""
        return self._sample(np.random.default_rng((_CALIBRATION, self._config.optimisation.seed, number)))

    def _sample(self, rng: np.random.Generator, bits: Bits | None = None) -> Sample:
        samples = self._config.samples
        for _ in range(_MOST_DRAWS):
            index = int(rng.integers(len(self._cubes)))
            cube = self._cubes[index]
            most = min(2 * self._config.data.crop, cube.largest_side(self._config.data.crop))
            square = cube.square(int(rng.integers(self._config.data.crop, most + 1)), rng)
            if square is not None:
                break
        else:
            raise SceneError(
                f"{_MOST_DRAWS} scenes drawn in a row hold no square of data.crop or more pixels free of no-data; "
                "lower data.crop, or exclude such files"
            )
        square = augmented(square, self._config.data, rng)
        basis = self._basis_of_scene(index) if rng.integers(2) else spectral_basis(square, samples.components)
        # An eigenvector's sign is nobody's choice.
        signs = rng.choice(np.array((-1, 1), np.float32), (len(basis.vectors), 1, 1))
        step = float(np.exp(rng.uniform(np.log(samples.smallest_step), np.log(samples.largest_step))))
        rounding = float(rng.uniform(samples.least_rounding, 0.5))
        exact = details(signs * project(basis, square), basis, step)
        drawn = rounded(exact, rounding) if bits is None else rounded_for_less(exact, bits, samples.bit_weight)
        chance = min(1.0, samples.rows / drawn.count)
        rows = all_rows(drawn, Choice(rng=rng, chance=chance, of_block=max(chance, _CHANCE_OF_BLOCK)))
        if rows is None:  # so small a crop that none was chosen
            rows, chance = all_rows(drawn), 1.0
        assert rows is not None
        return Sample(rows=rows, weight=1 / chance)

    def _basis(self, index: int) -> SpectralBasis:
        return spectral_basis(self._cubes[index].cube, self._config.samples.components)
