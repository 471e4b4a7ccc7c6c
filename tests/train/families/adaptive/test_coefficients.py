from __future__ import annotations

import numpy as np
import pytest
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, CONTEXTS
from hyvic_runtime.families.adaptive.kernels import kernels_of
from hyvic_runtime.families.adaptive.strip import basis_of_strip
from hyvic_runtime.families.adaptive.wavelet import Pyramid
from hyvic_train.families.adaptive.coefficients import (
    Choice,
    Details,
    Rows,
    all_rows,
    details,
    project,
    rounded,
    rounded_for_less,
    spectral_basis,
)
from scenes import smooth_cube


@pytest.fixture(scope="module")
def cube() -> np.ndarray:
    return np.moveaxis(smooth_cube(37, 30, 12), -1, 0).astype(np.float32)


@pytest.fixture(scope="module")
def tile(cube: np.ndarray) -> Details:
    basis = spectral_basis(cube, 6)
    return rounded(details(project(basis, cube), basis, 6.0), 0.4)


def test_components_are_an_encoders_and_of_the_spread_that_is_told(cube: np.ndarray) -> None:
    found = spectral_basis(cube, 6)
    basis = basis_of_strip(np.rint(np.moveaxis(cube, 0, -1)).astype(np.int16), None)
    np.testing.assert_allclose(np.abs(np.sum(found.vectors * basis.vectors[:6], axis=1)), 1, atol=1e-6)
    planes = project(found, cube).reshape(6, -1)
    # The products are float32, of values up to 4,000.
    np.testing.assert_allclose(planes.std(axis=1), found.deviations, rtol=1e-3)
    assert (np.diff(found.deviations) <= 0).all()


def test_components_that_quantise_to_nothing_are_left_out(cube: np.ndarray) -> None:
    basis = spectral_basis(cube, 12)
    counts = [len(details(project(basis, cube), basis, step).scale) for step in (6.0, 60.0, 1e6)]
    assert counts[0] > counts[1] > counts[2] == 1


def test_every_coefficient_that_exists_is_met_once(tile: Details) -> None:
    rows = all_rows(tile)
    assert rows is not None
    assert rows.contexts.shape == (CONTEXTS, tile.count)
    assert np.abs(rows.contexts).max() <= CONTEXT_MAX
    assert (rows.contexts == np.rint(rows.contexts)).all()
    # 37 × 30 pixels are as many coefficients, two of them the approximation's.
    assert tile.count == len(tile.scale) * (37 * 30 - 2 * 1)
    of_levels = np.concatenate([level.ravel() for level in tile.levels])
    assert sorted(rows.values[rows.values != 0]) == sorted(of_levels[of_levels != 0])


def test_chosen_rows_are_some_of_all_and_as_many_as_their_chance_says(tile: Details) -> None:
    everything = all_rows(tile)
    assert everything is not None
    known = {column.tobytes() for column in np.vstack((everything.contexts, everything.values)).T}
    rng = np.random.default_rng(1)
    counts = []
    for _ in range(20):
        chosen = all_rows(tile, Choice(rng=rng, chance=0.2, of_block=0.5))
        assert chosen is not None
        assert {column.tobytes() for column in np.vstack((chosen.contexts, chosen.values)).T} <= known
        counts.append(len(chosen.values))
    # Parts are of very different sizes: the mean of twenty draws lies within four of its standard deviations.
    assert abs(np.mean(counts) - 0.2 * tile.count) < 4 * np.std(counts) / np.sqrt(20)


def test_plain_rounding_costs_a_twelfth_of_a_squared_step(cube: np.ndarray) -> None:
    basis = spectral_basis(cube, 3)
    planes = project(basis, cube)
    quantised = rounded(details(planes, basis, 4.0), 0.5)
    approximation = kernels_of().analyse(planes / 4).approximation
    again = 4 * kernels_of().synthesise(Pyramid(approximation=approximation, details=quantised.levels), (37, 30))
    # The wavelet is nearly orthonormal, so errors of coefficients are those of the plane.
    assert np.square(again - planes).mean() == pytest.approx(4**2 / 12, rel=0.1)


def _toy_bits(rows: Rows, values: np.ndarray) -> np.ndarray:
    """More of what is larger, less where the parent is large."""
    return np.asarray(2 * np.abs(values) / (1 + rows.contexts[0] / 16), np.float32)


def test_an_encoder_rounds_for_less_than_plain_rounding_costs(cube: np.ndarray) -> None:
    basis = spectral_basis(cube, 6)
    exact = details(project(basis, cube), basis, 6.0)
    costs = {}
    for name, tile in (("nearest", rounded(exact, 0.5)), ("less", rounded_for_less(exact, _toy_bits, 0.3))):
        rows = all_rows(tile)
        assert rows is not None
        error = sum(np.square(e - q).sum() for e, q in zip(exact.levels, tile.levels, strict=True))
        costs[name] = error + 0.3 * _toy_bits(rows, rows.values).sum()
        # Nothing moves away from zero, nor by more than one beyond the nearest integer.
        assert all((np.abs(e - q) <= 1.5).all() for e, q in zip(exact.levels, tile.levels, strict=True))
    assert costs["less"] < costs["nearest"]
    same = rounded_for_less(exact, _toy_bits, 0.0)
    assert all((a == b).all() for a, b in zip(same.levels, rounded(exact, 0.5).levels, strict=True))
