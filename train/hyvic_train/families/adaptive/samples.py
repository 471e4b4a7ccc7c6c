"""What a gradient step learns from: a pure function of (seed, step), so that a resumed run goes on as it would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from hyvic_runtime.errors import SceneError

from hyvic_train.data.crops import augmented
from hyvic_train.data.cubes import TrainingCube
from hyvic_train.families.adaptive.coefficients import (
    Bits,
    Choice,
    Rows,
    SpectralTransform,
    details,
    rounded,
    rounded_for_less,
    rows_in_order,
    spectral_transform,
    together,
)
from hyvic_train.families.adaptive.config import AdaptiveTrainingConfig

_SAMPLES, _CALIBRATION = 1, 2  # two families of random streams that share no number
_MOST_DRAWS = 100
_HELD_TRANSFORMS = 64
_CHANCE_OF_PART = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some coefficients of a crop.

    Attributes:
        rows: those.
        weight: coefficients of the crop for each of them.
    """

    rows: Rows
    weight: float


class Samples:
    """Samples of scenes.

    Of a crop's coefficients some are taken at random, at a step of the quantiser at random. Half of the crops are
    transformed by their own statistics and half by those of the whole scene: a strip is longer than a tile, and how
    much longer is for the sensor to say.
    """

    def __init__(self, cubes: Sequence[TrainingCube], config: AdaptiveTrainingConfig) -> None:
        self._cubes, self._config = cubes, config
        self._whole = lru_cache(_HELD_TRANSFORMS)(self._transform_of_whole)

    def of_step(self, step: int, bits: Bits | None = None) -> Sample:
        """What a gradient step sees.

        Args:
            step: gradient steps done before.
            bits: by which an encoder rounds; None: each coefficient is rounded for itself.
        """
        return self._sample(np.random.default_rng((_SAMPLES, self._config.optimisation.seed, step)), bits)

    def for_calibration(self, number: int) -> Sample:
        """Others, that no step sees."""
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
        transform = self._whole(index) if rng.integers(2) else spectral_transform(square, samples.components)
        # An eigenvector's sign is nobody's choice.
        signs = rng.choice(np.array((-1, 1), np.float32), (len(transform.vectors), 1, 1))
        step = float(np.exp(rng.uniform(np.log(samples.smallest_step), np.log(samples.largest_step))))
        rounding = float(rng.uniform(samples.least_rounding, 0.5))
        exact = details(signs * transform.components(square), transform.spread, step)
        drawn = rounded(exact, rounding) if bits is None else rounded_for_less(exact, bits, samples.bit_weight)
        chance = min(1.0, samples.rows / drawn.count)
        choice = Choice(rng=rng, chance=chance, of_part=max(chance, _CHANCE_OF_PART))
        parts = list(rows_in_order(drawn, choice))
        if not parts:  # so small a crop that none was chosen
            parts, chance = list(rows_in_order(drawn)), 1.0
        return Sample(rows=together(parts), weight=1 / chance)

    def _transform_of_whole(self, index: int) -> SpectralTransform:
        return spectral_transform(self._cubes[index].cube, self._config.samples.components)
