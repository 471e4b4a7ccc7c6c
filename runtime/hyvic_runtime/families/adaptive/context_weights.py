"""The context network in integers, as a bundle carries it for code that runs it without a graph.

A layer's row is 2**-shift · (Σ weight · input + bias), with 2**-negative_shift instead for a negative sum. It is
rounded to the nearest integer with ties to even, and clamped to low … high: see export/hyvic_export/integer_layer.py.
The bundle's graph computes the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, CONTEXTS
from hyvic_runtime.families.adaptive.table_choice import RANGES

MAX_LAYERS = 9
MAX_WIDTH = 256
MAX_SUM = 2**24
"""float32 holds all smaller integers."""
MAX_SHIFT = 24
BIAS, SHIFT, NEGATIVE_SHIFT, LOW, HIGH = range(5)
"""Columns of `ContextWeights.rows`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One layer of the network.

    Attributes:
        weight: (row, input) int16.
        rows: (row, 5) int32.
    """

    weight: NDArray[np.int16]
    rows: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContextWeights:
    """All layers of the network.

    Attributes:
        widths: CONTEXTS, and then the number of rows of every layer.
        weights: int16, the layers' (row, input) one after another.
        rows: (row, 5) int32, layer after layer.

    Raises:
        ValueError: the arrays are not a network's, its sums are not exact, or its outputs may be out of range.
    """

    widths: tuple[int, ...]
    weights: NDArray[np.int16]
    rows: NDArray[np.int32]

    def __post_init__(self) -> None:
        widths = self.widths
        if not 2 <= len(widths) <= MAX_LAYERS + 1 or widths[0] != CONTEXTS or widths[-1] != len(RANGES):
            raise ValueError(f"widths are {widths}")
        if not all(type(width) is int and 1 <= width <= MAX_WIDTH for width in widths):
            raise ValueError(f"widths are {widths}; {MAX_WIDTH} is the most")
        sizes = sum(a * b for a, b in pairwise(widths)), (sum(widths[1:]), HIGH + 1)
        if (self.weights.shape, self.rows.shape) != ((sizes[0],), sizes[1]):
            found = f"weights {self.weights.shape} and rows {self.rows.shape}"
            raise ValueError(f"{found} are not of a network of widths {widths}")
        peak = np.full(CONTEXTS, CONTEXT_MAX, np.int64)
        layers = self.layers
        for layer in layers:
            bias, shift, negative_shift, low, high = layer.rows.T.astype(np.int64)
            sums = np.abs(layer.weight.astype(np.int64)) @ peak + np.abs(bias)
            if sums.max() >= MAX_SUM:
                raise ValueError(f"a sum may reach {sums.max()}; less than {MAX_SUM} is exact")
            if shift.min() < 0 or (negative_shift < shift).any() or negative_shift.max() > MAX_SHIFT:
                raise ValueError(f"a shift is outside 0..{MAX_SHIFT}, or less where a sum is negative")
            if low.max() > 0 or high.min() < 0 or max(-low.min(), high.max()) >= 2**15:
                raise ValueError("a result's bounds are not about zero, or beyond 16 bits")
            peak = np.maximum(-low, high)
        least, most = np.array([bounds for _, *bounds in RANGES]).T
        if (layers[-1].rows[:, LOW] < least).any() or (layers[-1].rows[:, HIGH] > most).any():
            raise ValueError("an output's bounds are beyond its range")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Return the layers one by one."""
        counts = [a * b for a, b in pairwise(self.widths)]
        weights = np.split(self.weights, np.cumsum(counts)[:-1])
        rows = np.split(self.rows, np.cumsum(self.widths[1:])[:-1])
        return tuple(
            Layer(weight=weight.reshape(len(of), -1), rows=of) for weight, of in zip(weights, rows, strict=True)
        )
