from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from hyvic_runtime.errors import SceneError
from hyvic_train.data.cubes import TrainingCube
from hyvic_train.data.no_data import free_corners, largest_rectangle

MAPS = arrays.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.booleans())


@settings(deadline=None)
@given(valid=MAPS, side=st.integers(1, 8))
def test_free_corners_are_those_of_every_square_without_no_data(valid: np.ndarray, side: int) -> None:
    lines, samples = valid.shape
    expected = [
        [line, sample]
        for line in range(lines - side + 1)
        for sample in range(samples - side + 1)
        if valid[line : line + side, sample : sample + side].all()
    ]
    assert free_corners(valid, side).tolist() == expected


@settings(deadline=None)
@given(valid=MAPS)
def test_no_rectangle_without_no_data_is_larger(valid: np.ndarray) -> None:
    lines, samples = valid.shape
    areas = [
        (bottom - top) * (right - left)
        for top in range(lines)
        for bottom in range(top + 1, lines + 1)
        for left in range(samples)
        for right in range(left + 1, samples + 1)
        if valid[top:bottom, left:right].all()
    ]
    found = valid[largest_rectangle(valid)]
    assert found.all()
    assert found.size == max(areas, default=0)


@dataclass
class _Source:
    values: np.ndarray

    def read(self, lines: slice, samples: slice) -> np.ndarray:
        return self.values[:, lines, samples]

    def stored_sha256(self) -> str:
        return "00" * 32


def _cube(missing: np.ndarray) -> TrainingCube:
    values = np.ones((2, *missing.shape), np.float32)
    values[:, missing] = np.nan
    return TrainingCube(name="c", size=(missing.shape[0], missing.shape[1]), pixels=1, source=_Source(values))


@settings(deadline=None)
@given(missing=MAPS, side=st.integers(1, 4), seed=st.integers(0, 99))
def test_a_square_holds_no_data_of_any_kind_but_data(missing: np.ndarray, side: int, seed: int) -> None:
    if min(missing.shape) < side:
        return
    square = _cube(missing).square(side, np.random.default_rng(seed))
    if square is None:
        assert not len(free_corners(~missing, side))
    else:
        assert square.shape == (2, side, side)
        assert np.isfinite(square).all()


def test_a_cube_is_measured_where_it_has_data() -> None:
    missing = np.zeros((5, 6), bool)
    missing[0, 0] = missing[4, 5] = True
    measured = _cube(missing).cube
    assert measured.size == 2 * 4 * 5
    assert np.isfinite(measured).all()
    with pytest.raises(SceneError, match=r"c holds no-data only.*data\.exclude"):
        _ = _cube(np.ones((2, 2), bool)).cube
