from __future__ import annotations

import numpy as np
import pytest
from both_kernels import NATIVE, REFERENCE, both_kernels, needs_native
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.adaptive.planes import ORIENTATIONS, Planes
from hyvic_runtime.families.adaptive.wavelet import Pyramid, empty_pyramid, low_size, present
from numpy.typing import NDArray

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 70))
# ISO/IEC 15444-1, table F.4 and the text below it: the filters from their centre outwards.
LOW_PASS = (0.6029490182363579, 0.2668641184428723, -0.07822326652898785, -0.01686411844287495, 0.02674875741080976)
HIGH_PASS = (1.115087052456994, -0.5912717631142470, -0.05754352622849957, 0.09127176311424948)


def _noise(shape: tuple[int, ...], seed: int = 0) -> Planes:
    return np.random.default_rng(seed).normal(0, 1000, shape).astype(np.float32)


def _filtered(plane: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high half along the first axis by the standard's filters, orthonormally scaled."""
    extended = np.pad(plane, [(4, 4), (0, 0)], mode="reflect")
    halves = []
    for taps, first, scale in ((LOW_PASS, 0, 2**0.5), (HIGH_PASS, 1, 0.5**0.5)):
        kernel = np.array([*taps[:0:-1], *taps]) * scale
        margin = len(taps) - 1
        rows = range(first, len(plane), 2)
        halves.append(np.array([kernel @ extended[row + 4 - margin : row + 5 + margin] for row in rows]))
    return halves[0], halves[1]


@both_kernels
@given(shape=SIZES, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_planes_of_every_size_come_back(kernels: Kernels, shape: tuple[int, int, int], seed: int) -> None:
    planes = _noise(shape, seed)
    before = planes.copy()
    pyramid = kernels.analyse(planes)
    # A few dozen roundings of float32 numbers around 1,000.
    np.testing.assert_allclose(kernels.synthesise(pyramid, shape[1:]), planes, rtol=0, atol=0.02)
    assert np.array_equal(planes, before)


@both_kernels
@given(shape=SIZES)
@settings(deadline=None)
def test_what_is_present_is_all_there_is(kernels: Kernels, shape: tuple[int, int, int]) -> None:
    components, *size = shape
    pyramid = kernels.analyse(_noise(shape))
    coefficients = pyramid.approximation[0].size
    for level, details in enumerate(pyramid.details):
        exist = present(size[0], size[1], level)
        assert details.shape == (components, ORIENTATIONS, low_size(size[0], level), low_size(size[1], level))
        assert exist.shape == details.shape[1:]
        assert not details[:, ~exist].any()
        coefficients += int(exist.sum())
    assert coefficients == size[0] * size[1]


def _functions(lines: int, samples: int) -> NDArray[np.float64]:
    """What a unit of every coefficient adds to a plane, (coefficient, line, sample)."""
    units = empty_pyramid(lines * samples, lines, samples)
    coefficients = [
        planes[:, exist]
        for planes, exist in (
            (units.approximation, np.ones(units.approximation.shape[1:], np.bool_)),
            *((level, present(lines, samples, index)) for index, level in enumerate(units.details)),
        )
    ]
    identity = np.split(np.eye(lines * samples), np.cumsum([part.shape[1] for part in coefficients])[:-1], axis=1)
    units.approximation.reshape(lines * samples, -1)[...] = identity[0]
    for index, (level, part) in enumerate(zip(units.details, identity[1:], strict=True)):
        level[:, present(lines, samples, index)] = part
    return NATIVE.synthesise(units, (lines, samples)).astype(np.float64)


def _cost(size: int) -> NDArray[np.float64]:
    """Norms of what the standard's low and high-pass coefficients add to an axis of one level."""
    return np.linalg.norm(np.linalg.inv(np.concatenate(_filtered(np.eye(size)))), axis=0)


@both_kernels
@pytest.mark.parametrize("shape", [(31, 48), (28, 37), (5, 6)])
def test_one_level_is_the_standards_filters_times_what_errors_cost(kernels: Kernels, shape: tuple[int, int]) -> None:
    plane = _noise(shape)
    low, high = _filtered(plane.astype(np.float64))
    (_, along_samples), (along_lines, both) = (_filtered(half.T) for half in (low, high))
    (low_line, high_line), (low_sample, high_sample) = (np.split(_cost(size), [-(-size // 2)]) for size in shape)
    finest = kernels.analyse(plane[None]).details[0][0]
    for orientation, (expected, cost) in enumerate(
        (
            (along_samples.T, np.outer(low_line, high_sample)),
            (along_lines.T, np.outer(high_line, low_sample)),
            (both.T, np.outer(high_line, high_sample)),
        )
    ):
        exist = present(*shape, 0)[orientation]
        # Rounding of float32 numbers around 1,000; the taps have 15 digits.
        np.testing.assert_allclose(finest[orientation][exist], (expected * cost).ravel(), rtol=0, atol=0.01)


def test_a_constant_is_all_in_the_approximation() -> None:
    pyramid = NATIVE.analyse(np.full((1, 96, 97), 100, np.float32))
    assert pyramid.approximation.min() > 1000
    assert all(np.abs(details).max() < 0.01 for details in pyramid.details)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 3), (5, 6), (17, 4), (30, 7), (31, 33)])
def test_errors_of_all_coefficients_cost_the_same(shape: tuple[int, int]) -> None:
    energy = np.square(_functions(*shape)).sum(axis=(1, 2))
    np.testing.assert_allclose(energy, 1, rtol=1e-5)  # a few dozen roundings of float32 numbers


@pytest.mark.parametrize("lines", [32, 50, 256, 257, 320])
def test_lines_count_more_where_rows_of_tiles_meet(lines: int) -> None:
    counts = np.ones(lines)
    counts[:4] = 1.5, 1.375, 1.25, 1.125
    if lines in (256, 320):  # whole cells: another row may follow
        counts[-4:] = 1.5, 2, 2.5, 3
    energy = np.square(_functions(lines, 2)).sum(axis=2) @ counts
    np.testing.assert_allclose(energy, 1, rtol=1e-5)


def test_where_rows_meet_lines_are_no_worse_than_inside() -> None:
    """Errors that are alike in all coefficients; without weights the last line's are twice those inside."""
    gains = np.square(_functions(256, 1)).sum(axis=(0, 2))
    np.testing.assert_allclose(gains[100:132].mean(), 1, atol=0.01)
    assert gains[:8].mean() < 0.95
    assert gains[-8:].mean() < 0.80
    assert gains.max() < 1.15


def test_the_middle_of_a_long_axis_goes_on_as_it_is() -> None:
    empty = empty_pyramid(1, 1, 801)  # longer than what weights are computed of
    for level, zeros in enumerate(empty.details):
        last = np.count_nonzero(present(1, 801, level)) - 1
        for place in (0, last // 4, last // 2, last):
            only = zeros.copy()
            only[0, 0, 0, place] = 1
            others = tuple(only if index == level else planes for index, planes in enumerate(empty.details))
            added = NATIVE.synthesise(Pyramid(approximation=empty.approximation, details=others), (1, 801))
            np.testing.assert_allclose(np.square(added, dtype=float).sum(), 1, rtol=1e-5)


def test_a_single_line_is_split_along_samples_alone() -> None:
    pyramid = NATIVE.analyse(_noise((1, 1, 64)))
    for level, details in enumerate(pyramid.details):
        assert details.shape == (1, ORIENTATIONS, 1, 32 >> level)
        assert details[0, 0].all()
        assert not details[0, 1:].any()


@both_kernels
def test_a_pyramid_of_another_size_is_refused(kernels: Kernels) -> None:
    with pytest.raises(ValueError, match="not of planes of 30 lines and 50 samples"):
        kernels.synthesise(kernels.analyse(_noise((1, 40, 50))), (30, 50))


@needs_native
@given(shape=SIZES, seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-3, 1.0, 1e9]))
@settings(deadline=None)
def test_c_and_numpy_give_the_same(shape: tuple[int, int, int], seed: int, scale: float) -> None:
    planes = _noise(shape, seed) * np.float32(scale)
    found, defined = NATIVE.analyse(planes), REFERENCE.analyse(planes)
    expected = REFERENCE.synthesise(defined, shape[1:])
    assert np.array_equal(found.approximation, defined.approximation)
    assert all(map(np.array_equal, found.details, defined.details))
    assert np.array_equal(NATIVE.synthesise(found, shape[1:]), expected)


@needs_native
def test_buffers_of_another_size_are_refused() -> None:
    from hyvic_runtime.kernels import _native

    planes, factors = np.zeros((2, 5, 9), np.float32), (1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    empty, one = empty_pyramid(*planes.shape), empty_pyramid(1, *planes.shape[1:])
    weights = (one.approximation, *one.details)
    for size in ((1, 5, 9), (2, 5, 10), (2, 7, 9)):
        for transform in (_native.analyse, _native.synthesise):
            with pytest.raises(ValueError, match=r"buffer \d+ holds \d+ octets, not \d+ items of 4"):
                transform(factors, *size, planes, empty.approximation, *empty.details, *weights)
    with pytest.raises(ValueError, match="2 planes of 0 x 9 are invalid"):
        _native.analyse(factors, 2, 0, 9, planes, empty.approximation, *empty.details, *weights)
    with pytest.raises(ValueError, match="not 90 items of 4"):
        _native.analyse(factors, 2, 5, 9, planes, empty.approximation, *empty.details[1:], empty.details[0], *weights)
    with pytest.raises(ValueError, match="not 45 items of 4"):
        _native.analyse(factors, 2, 5, 9, planes, empty.approximation, *empty.details, weights[0], *empty.details)
