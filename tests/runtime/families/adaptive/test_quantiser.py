from __future__ import annotations

import numpy as np
import pytest
from both_kernels import NATIVE, REFERENCE, both_kernels, needs_native
from guessing_network import tile_coder
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.adaptive.quantiser import LARGEST
from hyvic_runtime.families.adaptive.table_choice import ROWS
from numpy.typing import NDArray

COSTS = SymbolCosts(tile_coder().coder)

Coefficients = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]


def _coefficients(seed: int, largest: float, shape: tuple[int, int] = (3, 50)) -> Coefficients:
    """Coefficients with tables and offsets."""
    rng = np.random.default_rng(seed)
    values = (rng.laplace(0, 1, shape) * largest).astype(np.float32)
    return values, rng.integers(0, ROWS, shape, np.int32), rng.integers(-3, 4, shape, np.int32)


@both_kernels
@pytest.mark.parametrize("largest", [0.3, 4.0, 1e4, 1e9])
def test_every_choice_costs_least_of_two(kernels: Kernels, largest: float) -> None:
    values, tables, offsets = _coefficients(1, largest)
    choice = kernels.choose(values, tables, offsets, COSTS, 0.15)
    nearest = np.clip(np.rint(values), -LARGEST, LARGEST)
    smaller = nearest - np.sign(nearest)

    def cost(integers: NDArray[np.float32]) -> NDArray[np.float32]:
        bits = COSTS.bits(integers.astype(np.int32) - offsets, tables)
        return np.asarray((values - integers) ** 2 + np.float32(0.15) * bits)

    expected = np.where(cost(smaller) < cost(nearest), smaller, nearest)
    assert np.array_equal(choice.integers, expected)
    assert largest > 1e3 or not np.array_equal(expected, nearest)
    assert np.array_equal(choice.symbols, expected.astype(np.int64) - offsets)


@both_kernels
def test_choices_do_not_depend_on_how_coefficients_lie_in_memory(kernels: Kernels) -> None:
    values, tables, offsets = _coefficients(2, 2.0)
    expected = kernels.choose(values, tables, offsets, COSTS).integers
    transposed = (np.asfortranarray(values), np.asfortranarray(tables), np.asfortranarray(offsets))
    assert np.array_equal(kernels.choose(*transposed, COSTS).integers, expected)
    assert not np.array_equal(expected, np.rint(values))


@both_kernels
def test_without_a_price_of_bits_coefficients_are_rounded(kernels: Kernels) -> None:
    values, tables, offsets = _coefficients(3, 2.0)
    assert np.array_equal(kernels.choose(values, tables, offsets, COSTS, 0).integers, np.rint(values))


@both_kernels
def test_how_far_coefficients_lie_from_their_integers_is_added_up(kernels: Kernels) -> None:
    values, tables, offsets = _coefficients(4, 2.0)
    choice = kernels.choose(values, tables, offsets, COSTS)
    magnitude = np.abs(choice.integers)
    off = magnitude.astype(np.float64) - np.sign(choice.integers) * values
    assert choice.counts == ((magnitude == 1).sum(), (magnitude > 1).sum())
    assert choice.off == pytest.approx((off[magnitude == 1].sum(), off[magnitude > 1].sum()))


@needs_native
@given(seed=st.integers(0, 2**32), largest=st.sampled_from([0.3, 3.0, 300.0, 1e7, 1e10]))
@settings(deadline=None, max_examples=40)
def test_both_choose_the_same(seed: int, largest: float) -> None:
    values, tables, offsets = _coefficients(seed, largest)
    made, defined = (kernels.choose(values, tables, offsets, COSTS) for kernels in (NATIVE, REFERENCE))
    assert np.array_equal(made.integers, defined.integers)
    assert np.array_equal(made.symbols, defined.symbols)
    assert made.counts == defined.counts
    assert made.off == pytest.approx(defined.off, rel=1e-6, abs=1e-6)


@needs_native
@pytest.mark.parametrize("table", [-1, ROWS])
def test_a_number_outside_the_tables_is_refused(table: int) -> None:
    from hyvic_runtime.kernels import _native as native

    values, offsets = np.ones(4, np.float32), np.zeros(4, np.int32)
    costs = (COSTS.coder.tables.first, COSTS.coder.tables.length, COSTS.starts, COSTS.of_frequencies)
    with pytest.raises(ValueError, match="a number is outside the tables"):
        native.choose(values, np.full(4, table, np.int32), offsets, 0.1, *costs, values.copy(), offsets.copy())
    with pytest.raises(ValueError, match="buffer 1 holds 12 octets, not 4 items of 4"):
        native.choose(values, offsets, offsets, 0.1, *costs, values[:3].copy(), offsets.copy())


@both_kernels
def test_worth_is_what_integers_take_off_the_squared_error(kernels: Kernels) -> None:
    rng = np.random.default_rng(5)
    planes = (rng.laplace(0, 1, (5, 3, 7, 11)) * np.array([0.1, 1, 1e3, 1e9, 0]).reshape(5, 1, 1, 1)).astype(np.float32)
    planes[1, 0, 0, :4] = (0.651, -0.651, 0.649, 1.651)
    saved, bits = kernels.estimated_rd(planes)
    magnitude = np.abs(planes).astype(np.float64).reshape(5, -1)
    integers = np.floor(magnitude + 0.35)
    # float32 rounds a product of numbers below 2**24 by a part of 2**24; larger integers are the numbers themselves.
    np.testing.assert_allclose(saved, (magnitude**2 - (magnitude - integers) ** 2).sum(axis=1), rtol=1e-6)
    mean = integers[1:4].mean(axis=1)
    expected = integers.shape[1] * (np.log2(1 + mean) + mean * np.log2(1 + 1 / mean))
    np.testing.assert_allclose(bits[1:4], expected, rtol=1e-6)
    assert saved[4] == bits[4] == 0
    assert kernels.estimated_rd(planes[:0])[0].shape == (0,)
