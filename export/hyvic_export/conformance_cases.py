"""Cases of a requantisation that conformance vectors must reach, and the choice of vectors that reach them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from hyvic_export.integer_layer import Integers, Requantisation, rounded_shift, shift_of

CandidateT = TypeVar("CandidateT")
VectorT = TypeVar("VectorT")


def possible_cases(name: str, by: Requantisation) -> frozenset[str]:
    """Name the cases that a requantisation could bring about, reachable or not."""
    ties = [f"{name} ties above {parity}" for parity in ("even", "odd")] if (by.shift > 0).any() else []
    return frozenset([f"{name} clamps {end}" for end in ("low", "high")] + ties)


def reached_cases(name: str, by: Requantisation, values: Integers) -> frozenset[str]:
    """Name the cases that values bring about, (row, line, sample)."""
    shift = shift_of(by, values)
    unclamped = rounded_shift(values, shift)
    right = np.maximum(shift, 1)
    tied = (shift > 0) & (values - (values >> right << right) == np.int64(1) << (right - 1))
    odd = (values >> right) % 2 == 1
    ends = {
        "clamps low": unclamped < by.low[:, None, None],
        "clamps high": unclamped > by.high[:, None, None],
        "ties above even": tied & ~odd,
        "ties above odd": tied & odd,
    }
    return frozenset(f"{name} {end}" for end, where in ends.items() if where.any())


def chosen_vectors(
    candidates: Iterable[CandidateT],
    run: Callable[[CandidateT], tuple[VectorT, frozenset[str]]],
    wanted: frozenset[str],
    designed: int,
) -> tuple[tuple[VectorT, ...], frozenset[str]]:
    """Choose vectors among candidates.

    Args:
        candidates: inputs; the first `designed` are always taken, the others where they reach new cases.
        run: makes a vector from a candidate, and names the cases that it brings about.
        wanted: cases to reach.
        designed: number of candidates that every bundle carries.

    Returns:
        The vectors, and the cases that none of them reached.
    """
    vectors, reached = [], set[str]()
    for index, candidate in enumerate(candidates):
        if index >= designed and reached >= wanted:
            break
        vector, found = run(candidate)
        if index < designed or found - reached:
            vectors.append(vector)
            reached |= found
    return tuple(vectors), frozenset(wanted - reached)
