"""Integer frequency tables, from probabilities in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hyvic_runtime.entropy.frequency_table import TOTAL, FrequencyTables
from hyvic_runtime.entropy.unit_coder import ESCAPE_OCTETS
from numpy.typing import NDArray
from scipy.special import xlogy


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Probabilities of consecutive integers; the rest of 1 is the probability of the escape.

    Attributes:
        first: first integer.
        mass: probability of each integer, (integer,).
    """

    first: int
    mass: NDArray[np.float64]

    def frequencies(self) -> NDArray[np.uint32]:
        """Return integers of at least 1 that add up to TOTAL; the escape comes last.

        The row's largest entry takes the remainder of the rounding, because it changes least there.
        """
        frequencies: NDArray[np.int64] = np.maximum(np.rint(self._events() * TOTAL), 1).astype(np.int64)
        frequencies[frequencies[:-1].argmax()] += TOTAL - int(frequencies.sum())
        assert (frequencies >= 1).all()
        return np.asarray(frequencies, np.uint32)

    def entropy_bits(self) -> float:
        """Return the ideal code length, bits a symbol."""
        events = self._events()
        return float(-xlogy(events, events).sum() / np.log(2))

    def excess_bits(self, escape_octets: int = ESCAPE_OCTETS) -> float:
        """Return the cost of `frequencies` above `entropy_bits`: divergence, and octets of escaped values."""
        events = self._events()
        length = -(events * np.log2(self.frequencies() / TOTAL)).sum() + 8 * escape_octets * events[-1]
        return float(length) - self.entropy_bits()

    def _events(self) -> NDArray[np.float64]:
        return np.append(self.mass, max(1.0 - float(self.mass.sum()), 0.0))


def frequency_tables(rows: Sequence[Distribution]) -> FrequencyTables:
    """Make tables with a row for each distribution."""
    return FrequencyTables(
        first=np.array([row.first for row in rows], np.int32),
        length=np.array([len(row.mass) for row in rows], np.int32),
        frequencies=np.concatenate([row.frequencies() for row in rows]),
    )


def table_bits(
    tables: FrequencyTables,
    symbols: NDArray[np.integer[Any]],
    rows: NDArray[np.integer[Any]],
    escape_octets: int = ESCAPE_OCTETS,
) -> float:
    """Return the ideal code length of symbols under integer frequencies, with escaped values."""
    position = symbols - tables.first[rows]
    length = tables.length[rows]
    escaped = (position < 0) | (position >= length)
    frequency = tables.frequencies[tables.starts()[rows] + np.where(escaped, length, position)]
    return float(-np.log2(frequency / TOTAL).sum() + 8 * escape_octets * escaped.sum())
