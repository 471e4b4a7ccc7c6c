"""Which integer stands for a coefficient, and which value for an integer.

The encoder is free to choose: between the two integers around a coefficient it takes the one whose squared error and
octets together cost least, under the very tables that code it (rate–distortion optimised quantisation). What follows
knows coefficients as they were chosen, so the choice needs no second pass.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.families.adaptive.contexts import Planes

try:
    from hyvic_runtime.families.adaptive import _quantiser
except ImportError:  # the package was built without a C compiler
    _quantiser = None  # type: ignore[assignment]

LAGRANGIAN = 0.15
"""Squared quantiser steps that a bit is worth. A uniform quantiser at high rate has d(mse)/d(bit) = −2 ln 2 / 12 =
−0.116; where most coefficients are zero a little more was best on prototypes."""
LARGEST = 2**28
"""Coefficients are held within it: an edge of 16 bits in 900 bands at the finest step is less, and four of them added
fit 32 bits. From 2**24 on those are chosen that float32 holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What stands for coefficients.

    Attributes:
        integers: float32, of the coefficients' shape.
        symbols: likewise, less the shifts.
        off: of integers ±1, and of larger ones: how much nearer to zero their coefficients lie, all together.
        counts: how many there are of both.
    """

    integers: Planes
    symbols: NDArray[np.int32]
    off: tuple[float, float]
    counts: tuple[int, int]


def choose(
    coefficients: Planes,
    rows: NDArray[np.int32],
    shifts: NDArray[np.int32],
    costs: SymbolCosts,
    lagrangian: float = LAGRANGIAN,
) -> Choice:
    """Integers for coefficients in quantiser steps, all of one shape.

    Args:
        coefficients: what was measured.
        rows: of the tables.
        shifts: what is subtracted from an integer to give its symbol.
        costs: of the tables.
        lagrangian: squared steps that a bit is worth; 0: round to the nearest.
    """
    if _quantiser is not None:
        coefficients = np.ascontiguousarray(coefficients)
        integers, symbols = np.empty_like(coefficients), np.empty(coefficients.shape, np.int32)
        off, counts = _quantiser.choose(
            coefficients,
            np.ascontiguousarray(rows),
            np.ascontiguousarray(shifts),
            lagrangian,
            costs.first,
            costs.length,
            costs.starts,
            costs.of_frequencies,
            integers,
            symbols,
        )
        return Choice(integers=integers, symbols=symbols, off=off, counts=counts)
    integers = np.clip(np.rint(coefficients), -LARGEST, LARGEST)
    if lagrangian > 0:
        chosen = np.nonzero(integers)
        value, near = coefficients[chosen], integers[chosen]
        smaller = near - np.sign(near)

        def cost(candidate: Planes) -> Planes:
            bits = costs.bits(candidate.astype(np.int32) - shifts[chosen], rows[chosen])
            return np.asarray((value - candidate) ** 2 + np.float32(lagrangian) * bits)

        integers[chosen] = np.where(cost(smaller) < cost(near), smaller, near)
    magnitude = np.abs(integers)
    off = np.float64(magnitude) - coefficients * np.sign(integers)
    kinds = magnitude == 1, magnitude > 1
    return Choice(
        integers=integers,
        symbols=integers.astype(np.int32) - shifts,
        off=(float(off[kinds[0]].sum()), float(off[kinds[1]].sum())),
        counts=(int(np.count_nonzero(kinds[0])), int(np.count_nonzero(kinds[1]))),
    )


def estimated_rd(planes: Planes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """About what coefficients of components would take off the squared error, and what they would cost.

    Args:
        planes: (component, …) in quantiser steps.

    Returns:
        Squared quantiser steps and bits, (component,) each: as Laplacians of their mean magnitude.
    """
    saved, total = np.zeros(len(planes)), np.zeros(len(planes))
    if _quantiser is not None:
        _quantiser.weigh(np.ascontiguousarray(planes), saved, total)
    else:
        for component, plane in enumerate(planes):
            magnitude = np.abs(plane.ravel())
            integers = np.abs(np.rint(magnitude - _DEAD))
            saved[component] = (integers * (2 * magnitude - integers)).sum(dtype=np.float64)
            total[component] = integers.sum(dtype=np.float64)
    elements = planes[0].size if len(planes) else 1
    mean = total / elements
    # Of a component without integers both terms are 0.
    bits = elements * (np.log2(1 + mean) + mean * np.log2(1 + 1 / np.where(total > 0, mean, 1)))
    return saved, bits


def trailing_count(pays: NDArray[np.bool_]) -> int:
    """How many components there are up to the last that pays, (component,)."""
    found = np.flatnonzero(pays)
    return int(found[-1]) + 1 if found.size else 0


_DEAD = np.float32(0.15)
"""What magnitudes are made smaller by before they are rounded, where no table says better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Centroids:
    """How much nearer to zero than the integer a coefficient lies on average, in 64ths of a quantiser step.

    Attributes:
        one: of the integers ±1, -128 … 127.
        more: of larger ones.
    """

    one: int
    more: int

    @staticmethod
    def nearest(one: float, more: float) -> Centroids:
        """From quantiser steps."""
        one, more = (min(max(steps * _CENTROID_STEPS, -32), 32) for steps in (one, more))
        return Centroids(one=round(one), more=round(more))

    def pack(self) -> bytes:
        """Two octets."""
        return _CENTROIDS.pack(self.one, self.more)

    @staticmethod
    def unpack(octets: bytes) -> tuple[Centroids, bytes]:
        """Inverse of `pack`, with what follows.

        Raises:
            DecodeError: there are fewer octets.
        """
        if len(octets) < _CENTROIDS.size:
            raise DecodeError(f"a tile's first unit of {len(octets)} octets ends in its head")
        one, more = _CENTROIDS.unpack_from(octets)
        return Centroids(one=one, more=more), octets[_CENTROIDS.size :]

    def reconstructed(self, integers: Planes) -> Planes:
        """Coefficients in quantiser steps."""
        magnitude = np.abs(integers)
        one, more = (np.float32(steps / _CENTROID_STEPS) for steps in (self.one, self.more))
        off = np.where(magnitude > 1, more, np.where(magnitude > 0, one, np.float32(0)))
        return np.asarray(np.copysign(magnitude - off, integers))


_CENTROIDS = struct.Struct(">bb")
_CENTROID_STEPS = 64
