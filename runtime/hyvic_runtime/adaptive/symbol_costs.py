"""What symbols cost under the bundle's tables, for an encoder that chooses by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.adaptive.table_rows import ESCAPE_OCTETS, SCALES
from hyvic_runtime.frequency_table import TOTAL, FrequencyTables


class SymbolCosts:
    """Bits of every symbol of the tables."""

    def __init__(self, tables: FrequencyTables) -> None:
        """Take the logarithms once."""
        self._first, self._length, self._starts = tables.first, tables.length, tables.starts()
        self._bits = (np.log2(TOTAL) - np.log2(tables.frequencies.astype(np.float64))).astype(np.float32)
        self._bits[self._starts + self._length] += 8 * ESCAPE_OCTETS

    def bits(self, symbols: NDArray[np.integer[Any]], rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Of symbols under rows, both of one shape."""
        position = symbols - self._first[rows]
        length = self._length[rows]
        inside = (position >= 0) & (position < length)
        return np.asarray(self._bits[self._starts[rows] + np.where(inside, position, length)])

    def cheapest_rows(self, vectors: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
        """Which of the rows 0 … SCALES - 1, distributions about zero, codes each of (vector, symbol) for least."""
        rows = np.arange(SCALES)[:, None]
        bits = [self.bits(vector[None].repeat(SCALES, axis=0), rows.repeat(len(vector), axis=1)) for vector in vectors]
        return np.array([per_row.sum(axis=1).argmin() for per_row in bits], np.intp)
