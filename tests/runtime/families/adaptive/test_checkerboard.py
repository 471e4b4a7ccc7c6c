from __future__ import annotations

import numpy as np
import pytest
from both_kernels import both_kernels, needs_native
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.families.adaptive.checkerboard import coded_positions, non_anchors
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.adaptive.planes import ORIENTATIONS


@both_kernels
@given(
    components=st.integers(1, 4),
    lines=st.integers(1, 9),
    samples=st.integers(1, 9),
    lacking=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    orientation=st.integers(0, ORIENTATIONS - 1),
    non_anchor=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_coefficients_are_taken_line_by_line_and_put_back(
    kernels: Kernels,
    components: int,
    lines: int,
    samples: int,
    lacking: tuple[int, int],
    orientation: int,
    non_anchor: bool,
) -> None:
    existing = np.zeros((lines, samples), np.bool_)
    existing[: lines - lacking[0], : samples - lacking[1]] = True
    planes = np.random.default_rng(0).normal(size=(components, ORIENTATIONS, lines, samples)).astype(np.float32)
    positions = coded_positions(existing, non_anchor)
    taken = kernels.take(positions, planes, orientation)
    expected = [
        [plane[line, sample] for line in range(lines) for sample in range(samples) if existing[line, sample]
         and (line + sample) % 2 == non_anchor]
        for plane in planes[:, orientation]
    ]  # fmt: skip
    assert positions.count == len(expected[0])
    assert np.array_equal(taken, np.array(expected, np.float32).reshape(components, -1))
    put = np.zeros_like(planes)
    kernels.put(positions, taken, put, orientation)
    strided = np.zeros((components, ORIENTATIONS, lines, 2 * samples), np.float32)[..., ::2]
    kernels.put(positions, taken.astype(np.float64), strided, orientation)
    where = existing & (non_anchors(existing.shape) == non_anchor)
    assert np.array_equal(put[:, orientation], planes[:, orientation] * where)
    assert np.count_nonzero(put) == taken.size
    assert np.array_equal(strided, put)
    values = np.arange(2 * np.count_nonzero(non_anchors(existing.shape) == non_anchor)).reshape(2, -1)
    assert positions.existing_of(values).shape == (2, positions.count)


@needs_native
def test_buffers_of_another_size_are_refused() -> None:
    from hyvic_runtime.kernels import _native

    planes, coefficients = np.zeros((2, ORIENTATIONS, 3, 3), np.float32), np.zeros((2, 4), np.float32)
    for move in (_native.take_positions, _native.put_positions):
        move(2, 2, True, 3, 3, planes, coefficients)
        for arguments, match in [
            ((2, 3, True, 3, 3), "orientation 3 is outside"),
            ((2, -1, True, 3, 3), "orientation -1 is outside"),
            ((2, 2, False, 3, 3), "buffer 1 holds 32 octets, not 10 items of 4"),
            ((3, 2, True, 3, 3), "buffer 0 holds 216 octets"),
            ((2, 2, True, 0, 3), "2 planes of 0 x 3 are invalid"),
        ]:
            with pytest.raises(ValueError, match=match):
                move(*arguments, planes, coefficients)
