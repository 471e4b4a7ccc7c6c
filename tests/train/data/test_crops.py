from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.errors import SceneError
from hyvic_train.config import DataConfig
from hyvic_train.data.crops import Shard, crops, crops_per_epoch
from hyvic_train.data.cubes import TrainingCube
from training_cubes import cube_in_memory

PLAIN = DataConfig(crop=2, flips=False, transposes=False)
PATCHES = replace(PLAIN, dataset="mlretset")


def _cubes(count: int, side: int = 2) -> list[TrainingCube]:
    """Cube i holds the number i everywhere."""
    return [cube_in_memory(str(i), np.full((3, side, side), i, np.float32)) for i in range(count)]


def _shown(batch: np.ndarray) -> list[int]:
    return batch[:, 0, 0, 0].astype(int).tolist()


@settings(deadline=None)
@given(patches=st.integers(1, 40), batch=st.integers(1, 12), seed=st.integers(0, 2**63 - 1), epochs=st.integers(1, 3))
def test_every_epoch_shows_every_patch_once(patches: int, batch: int, seed: int, epochs: int) -> None:
    cubes = _cubes(patches)
    steps = -(-patches * epochs // batch)
    shown = [
        i for step in range(steps) for i in _shown(crops(cubes, count=batch, config=PATCHES, seed=seed, step=step))
    ]
    for epoch in range(epochs):
        assert sorted(shown[epoch * patches : (epoch + 1) * patches]) == list(range(patches))


def test_epochs_and_seeds_differ_in_their_order() -> None:
    cubes = _cubes(30)
    orders = [
        _shown(crops(cubes, count=30, config=PATCHES, seed=seed, step=epoch)) for seed in (1, 2) for epoch in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4


@settings(deadline=None)
@given(
    processes=st.sampled_from([1, 2, 3, 4, 6]),
    dataset=st.sampled_from(["scenes", "mlretset"]),
    seed=st.integers(0, 2**32),
    step=st.integers(0, 10**6),
)
def test_the_shards_of_all_processes_are_the_batch_of_one(processes: int, dataset: str, seed: int, step: int) -> None:
    rng = np.random.default_rng(0)
    cubes = [cube_in_memory(str(i), rng.random((3, 5, 6)).astype(np.float32)) for i in range(7)]
    config = replace(DataConfig(crop=3, gain=0.1, spectral_gain=0.2), dataset=dataset)
    whole = crops(cubes, count=12, config=config, seed=seed, step=step)
    shards = [
        crops(cubes, count=12, config=config, seed=seed, step=step, shard=Shard(rank=rank, processes=processes))
        for rank in range(processes)
    ]
    assert np.array_equal(np.concatenate(shards), whole)


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"7 crops cannot be shared by 2 processes.*multiple of 2"):
        crops(_cubes(3), count=7, config=PATCHES, seed=0, step=0, shard=Shard(rank=0, processes=2))
    with pytest.raises(ValueError, match=r"rank 2 is outside 0\.\.1"):
        Shard(rank=2, processes=2)


def test_flips_and_transposes_are_the_eight_positions_of_a_square() -> None:
    cube = cube_in_memory("s", np.arange(8, dtype=np.float32).reshape(2, 2, 2))
    square = cube.cube[0]
    eight = {np.rot90(s, k).tobytes() for s in (square, square.T) for k in range(4)}

    def positions(**switches: bool) -> set[bytes]:
        config = DataConfig(crop=2, **switches)
        return {crop[0].tobytes() for crop in crops([cube], count=200, config=config, seed=3, step=0)}

    assert positions() == eight
    assert positions(flips=False) == {square.tobytes(), square.T.tobytes()}
    assert positions(transposes=False) == {square[::a, ::b].tobytes() for a in (1, -1) for b in (1, -1)}
    assert positions(flips=False, transposes=False) == {square.tobytes()}


def test_the_global_gain_multiplies_a_whole_crop_by_one_factor() -> None:
    cube = cube_in_memory("s", np.random.default_rng(1).uniform(1, 2, (3, 2, 2)).astype(np.float32))
    batch = crops([cube], count=500, config=replace(PLAIN, gain=0.25), seed=0, step=0)
    factors = batch / cube.cube
    # float32 quotients of float32 products: a relative error of a few 2^-24.
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1, :1], factors.shape), rtol=1e-6)
    spread = np.log(factors[:, 0, 0, 0]).std()
    # The standard error of a standard deviation of 500 draws is 0.25/√1000.
    assert spread == pytest.approx(0.25, abs=4 * 0.25 / np.sqrt(1000))


def test_scenes_are_shown_by_their_pixels() -> None:
    cubes = [cube_in_memory(str(i), np.full((1, 2, width), i, np.float32)) for i, width in enumerate((2, 6))]
    shown = _shown(crops(cubes, count=400, config=PLAIN, seed=0, step=0))
    # Three quarters of 400 draws, within four standard deviations.
    assert sum(shown) == pytest.approx(300, abs=4 * np.sqrt(400 * 0.75 * 0.25))
    assert crops_per_epoch(cubes, PLAIN) == 1 + 3
    assert crops_per_epoch(_cubes(5, side=4), PATCHES) == 5


class _Empty:
    name, pixels = "night", 4
    cube = np.empty((1, 0, 0), np.float32)

    def square(self, side: int, rng: np.random.Generator) -> None:
        return None


def test_a_patch_without_data_gives_its_place_to_another() -> None:
    batch = crops([_Empty(), *_cubes(3)], count=40, config=PATCHES, seed=0, step=0)
    assert set(_shown(batch)) == {0, 1, 2}


def test_patches_of_no_data_alone_are_reported_not_tried_for_ever() -> None:
    with pytest.raises(SceneError, match=r"night and 1 others .* hold no 2×2 square free of no-data"):
        crops([_Empty()], count=1, config=PATCHES, seed=0, step=0)
