"""The integer that stands for a coefficient, and the value that stands for an integer.

The encoder is free to choose. Of the two integers around a coefficient it takes the one whose squared error and bits
together cost least, under the tables that code it (rate–distortion optimised quantisation). Later contexts are made of
the chosen integers, so one pass is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.families.adaptive.planes import Planes

LAGRANGIAN = 0.15
"""Squared quantiser steps that a bit is worth. A uniform quantiser at high rate has d(mse)/d(bit) = −2 ln 2 / 12 =
−0.116; on prototypes a little more was best where most coefficients are zero."""
LARGEST = 2**28
"""Largest magnitude of an integer. An edge of 16 bits in 900 bands at the finest step is smaller, and the sum of four
fits 32 bits. From 2**24 on, only integers that float32 holds are chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Integers that stand for coefficients.

    Attributes:
        integers: float32, in the coefficients' shape.
        symbols: integers minus offsets, in the same shape.
        off: how much nearer to zero the coefficients lie than their integers: summed for ±1, and for larger integers.
        counts: number of integers ±1, and of larger ones.
    """

    integers: Planes
    symbols: NDArray[np.int32]
    off: tuple[float, float]
    counts: tuple[int, int]


def choose(
    coefficients: Planes,
    tables: NDArray[np.int32],
    offsets: NDArray[np.int32],
    costs: SymbolCosts,
    lagrangian: float = LAGRANGIAN,
) -> Choice:
    """Choose integers for coefficients; arrays are all of one shape.

    Args:
        coefficients: coefficients in quantiser steps.
        tables: numbers of the frequency tables that code them.
        offsets: numbers that are subtracted from the integers to give symbols.
        costs: costs of symbols under the tables.
        lagrangian: squared steps that a bit is worth; 0: round to the nearest.
    """
    integers = np.clip(np.rint(coefficients), -LARGEST, LARGEST)
    if lagrangian > 0:
        chosen = np.nonzero(integers)
        value, near = coefficients[chosen], integers[chosen]
        smaller = near - np.sign(near)

        def cost(candidate: Planes) -> Planes:
            bits = costs.bits(candidate.astype(np.int32) - offsets[chosen], tables[chosen])
            return np.asarray((value - candidate) ** 2 + np.float32(lagrangian) * bits)

        integers[chosen] = np.where(cost(smaller) < cost(near), smaller, near)
    magnitude = np.abs(integers)
    off = np.float64(magnitude) - coefficients * np.sign(integers)
    kinds = magnitude == 1, magnitude > 1
    return Choice(
        integers=integers,
        symbols=integers.astype(np.int32) - offsets,
        off=(float(off[kinds[0]].sum()), float(off[kinds[1]].sum())),
        counts=(int(np.count_nonzero(kinds[0])), int(np.count_nonzero(kinds[1]))),
    )


def estimated_rd(planes: Planes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate the squared error that components would save, and the bits that they would cost.

    Args:
        planes: (component, …) in quantiser steps.

    Returns:
        Squared quantiser steps, (component,), and bits, (component,), which are a Laplacian's of the mean magnitude.
    """
    saved, total = np.zeros(len(planes)), np.zeros(len(planes))
    for component, plane in enumerate(planes):
        magnitude = np.abs(plane.ravel())
        integers = np.abs(np.rint(magnitude - _DEAD))
        saved[component] = (integers * (2 * magnitude - integers)).sum(dtype=np.float64)
        total[component] = integers.sum(dtype=np.float64)
    return rd_of_sums(saved, total, planes)


def rd_of_sums(
    saved: NDArray[np.float64], total: NDArray[np.float64], planes: Planes
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return `estimated_rd`, given what its integers save and add up to, (component,)."""
    elements = planes[0].size if len(planes) else 1
    mean = total / elements
    # Both terms of a component without integers are 0.
    bits = elements * (np.log2(1 + mean) + mean * np.log2(1 + 1 / np.where(total > 0, mean, 1)))
    return saved, bits


def trailing_count(pays: NDArray[np.bool_]) -> int:
    """Return the number of components up to the last True, (component,)."""
    found = np.flatnonzero(pays)
    return int(found[-1]) + 1 if found.size else 0


_DEAD = np.float32(0.15)
"""Subtracted from magnitudes before they are rounded, where no table says better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Centroids:
    """Mean distances by which coefficients lie nearer to zero than their integers, in 64ths of a quantiser step.

    Attributes:
        one: distance for the integers ±1, -128 … 127.
        more: distance for larger integers, -128 … 127.
    """

    one: int
    more: int

    @staticmethod
    def nearest(one: float, more: float) -> Centroids:
        """Round distances in quantiser steps."""
        one, more = (min(max(steps * _CENTROID_STEPS, -32), 32) for steps in (one, more))
        return Centroids(one=round(one), more=round(more))

    def reconstructed(self, integers: Planes) -> Planes:
        """Return coefficients in quantiser steps."""
        magnitude = np.abs(integers)
        one, more = (np.float32(steps / _CENTROID_STEPS) for steps in (self.one, self.more))
        off = np.where(magnitude > 1, more, np.where(magnitude > 0, one, np.float32(0)))
        return np.asarray(np.copysign(magnitude - off, integers))


_CENTROID_STEPS = 64
