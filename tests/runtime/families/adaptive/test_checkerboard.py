from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.families.adaptive import checkerboard as module
from hyvic_runtime.families.adaptive.checkerboard import coded_positions
from hyvic_runtime.families.adaptive.contexts import ORIENTATIONS, checkerboard

IN_C = find_spec("hyvic_runtime.families.adaptive._contexts") is not None
needs_c = pytest.mark.skipif(not IN_C, reason="the package was installed without a C compiler")


@pytest.mark.parametrize(
    "in_c", [pytest.param(True, marks=pytest.mark.skipif(not IN_C, reason="no C compiler")), False]
)
@given(
    components=st.integers(1, 4),
    lines=st.integers(1, 9),
    samples=st.integers(1, 9),
    lacking=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    orientation=st.integers(0, ORIENTATIONS - 1),
    black=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_squares_are_taken_line_by_line_and_put_back(
    in_c: bool, components: int, lines: int, samples: int, lacking: tuple[int, int], orientation: int, black: bool
) -> None:
    existing = np.zeros((lines, samples), np.bool_)
    existing[: lines - lacking[0], : samples - lacking[1]] = True
    planes = np.random.default_rng(0).normal(size=(components, ORIENTATIONS, lines, samples)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        if not in_c:
            patch.setattr(module, "_contexts", None)
        squares = coded_positions(existing, black)
        taken = squares.taken(planes, orientation)
        expected = [
            [plane[line, sample] for line in range(lines) for sample in range(samples) if existing[line, sample]
             and (line + sample) % 2 == black]
            for plane in planes[:, orientation]
        ]  # fmt: skip
        assert squares.count == len(expected[0])
        assert np.array_equal(taken, np.array(expected, np.float32).reshape(components, -1))
        put = np.zeros_like(planes)
        squares.put(taken, put, orientation)
        strided = np.zeros((components, ORIENTATIONS, lines, 2 * samples), np.float32)[..., ::2]
        squares.put(taken.astype(np.float64), strided, orientation)
    where = existing & (checkerboard(existing.shape) == black)
    assert np.array_equal(put[:, orientation], planes[:, orientation] * where)
    assert np.count_nonzero(put) == taken.size
    assert np.array_equal(strided, put)
    of_colour = np.arange(2 * np.count_nonzero(checkerboard(existing.shape) == black)).reshape(2, -1)
    assert squares.of_all(of_colour).shape == (2, squares.count)


@needs_c
def test_buffers_of_another_size_are_refused() -> None:
    from hyvic_runtime.families.adaptive import _contexts

    planes, squares = np.zeros((2, ORIENTATIONS, 3, 3), np.float32), np.zeros((2, 4), np.float32)
    for move in (_contexts.take_squares, _contexts.set_squares):
        move(2, 2, True, 3, 3, planes, squares)
        for arguments, match in [
            ((2, 3, True, 3, 3), "orientation 3 is none"),
            ((2, -1, True, 3, 3), "orientation -1 is none"),
            ((2, 2, False, 3, 3), "buffer 1 holds 32 octets, not 10 float32"),
            ((3, 2, True, 3, 3), "buffer 0 holds 216 octets"),
            ((2, 2, True, 0, 3), "2 planes of 0 x 3 are none"),
        ]:
            with pytest.raises(ValueError, match=match):
                move(*arguments, planes, squares)
