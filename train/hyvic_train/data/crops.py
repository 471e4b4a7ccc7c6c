"""The batch of a step: a pure function of (seed, step), whatever the number of processes that share it.

A resumed run sees the same batches as an uninterrupted one, with no state to save.

    scenes    every crop is drawn anew: every pixel of the archive is equally likely
    patches   epoch e shows every patch once, in the order permutation(seed, e). Every step takes the next `count`
              patches from the endless row of epochs, so one batch may end an epoch and begin the next
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from hyvic_runtime.errors import SceneError
from numpy.typing import NDArray

from hyvic_train.config import DataConfig
from hyvic_train.data.cubes import TrainingCube

_BROAD_KNOTS, _NARROW_KNOTS = 8, 50
_CROPS, _EPOCHS = 1, 2  # two families of random streams that share no number
_MOST_DRAWS = 100
"""Patches drawn in place of one without data. If half of the patches hold no data, all fail once in 2^100 crops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Share of one process in every batch.

    Attributes:
        rank: 0..processes - 1.
        processes: number of processes that share the batch equally; rank 0 takes the first crops.
    """

    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.processes:
            raise ValueError(f"rank {self.rank} is outside 0..{self.processes - 1}")

    def slots(self, count: int) -> range:
        """Return which crops of a batch of `count` this process makes."""
        share, rest = divmod(count, self.processes)
        if rest:
            raise ValueError(
                f"a batch of {count} crops cannot be shared by {self.processes} processes; "
                f"let optimisation.batch_size be a multiple of {self.processes}"
            )
        return range(self.rank * share, (self.rank + 1) * share)


ALONE = Shard()


def crops(
    cubes: Sequence[TrainingCube],
    *,
    count: int,
    config: DataConfig,
    seed: int,
    step: int,
    shard: Shard = ALONE,
) -> NDArray[np.float32]:
    """Cut the batch of one step: (count / processes, band, crop, crop) digital numbers, none of them no-data.

    The batches of all shards, by rank, together are the batch of a single process.

    Args:
        cubes: cubes to train on, `SceneSplit.training`.
        count: number of crops in the whole batch; constant in a run.
        config: crop size, augmentations and data set.
        seed: seed of the run.
        step: gradient steps done before.
        shard: share of this process.

    Raises:
        SceneError: a file cannot be read, or no crop free of no-data is found.
    """
    slots = shard.slots(count)
    first = _crop(cubes, config, seed, step, slots[0], step * count + slots[0])
    batch = np.empty((len(slots), *first.shape), np.float32)  # fails at once where memory does not suffice
    batch[0] = first
    for place, slot in enumerate(slots[1:], start=1):
        batch[place] = _crop(cubes, config, seed, step, slot, step * count + slot)
    return batch


def _crop(
    cubes: Sequence[TrainingCube], config: DataConfig, seed: int, step: int, slot: int, turn: int
) -> NDArray[np.float32]:
    # A generator for each crop, not one for the batch: a shard need not draw the crops of others.
    rng = np.random.default_rng((_CROPS, seed, step, slot))
    if config.dataset == "scenes":
        weights = np.array([cube.pixels for cube in cubes], np.float64)
        index = int(rng.choice(len(cubes), p=weights / weights.sum()))
    else:
        epoch, place = divmod(turn, len(cubes))
        index = int(_epoch_order(seed, epoch, len(cubes))[place])
    square = cubes[index].square(config.crop, rng)
    if square is None:
        others = rng.permutation(len(cubes))[:_MOST_DRAWS]
        square = next((s for other in others if (s := cubes[other].square(config.crop, rng)) is not None), None)
    if square is None:
        raise SceneError(
            f"{cubes[index].name} and {min(len(cubes), _MOST_DRAWS)} others drawn in its place hold no "
            f"{config.crop}×{config.crop} square free of no-data; lower data.crop, or exclude such files"
        )
    return augmented(square, config, rng)


def crops_per_epoch(cubes: Sequence[TrainingCube], config: DataConfig) -> int:
    """Count the crops that show everything once: the patches, or as many crops as cover the scenes' pixels.

    E epochs in batches of B are E · crops_per_epoch / B steps.
    """
    if config.dataset == "scenes":
        return sum(max(1, cube.pixels // config.crop**2) for cube in cubes)
    return len(cubes)


@lru_cache(maxsize=2)  # the epoch at hand, and the next where a batch spans both
def _epoch_order(seed: int, epoch: int, patches: int) -> NDArray[np.intp]:
    return np.random.default_rng((_EPOCHS, seed, epoch)).permutation(patches)


def augmented(square: NDArray[np.float32], config: DataConfig, rng: np.random.Generator) -> NDArray[np.float32]:
    """Vary a square: flips and transposes keep spectra intact, gains imitate other sensors and atmospheres."""
    flip_lines, flip_samples, transpose = rng.integers(2, size=3)
    if config.flips:
        square = square[:, :: -1 if flip_lines else 1, :: -1 if flip_samples else 1]
    if config.transposes and transpose:
        square = square.transpose(0, 2, 1)
    if config.gain:
        square = square * np.float32(np.exp(config.gain * rng.normal()))
    if config.spectral_gain:
        # Broad curves are illumination and calibration; narrow ones, half as strong, absorption lines.
        log_gain = _curve(rng, len(square), _BROAD_KNOTS) + 0.5 * _curve(rng, len(square), _NARROW_KNOTS)
        square = square * np.exp(config.spectral_gain * log_gain).astype(np.float32)[:, None, None]
    return square


def _curve(rng: np.random.Generator, bands: int, knots: int) -> NDArray[np.float64]:
    """Draw a piecewise-linear spectrum whose knots are standard normal."""
    return np.interp(np.linspace(0, 1, bands), np.linspace(0, 1, knots), rng.normal(size=knots))
