"""Costs of symbols under the bundle's tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.frequency_table import TOTAL
from hyvic_runtime.entropy.unit_coder import EntropyCoder


@dataclass(frozen=True)
class SymbolCosts:
    """Bits of every symbol of the tables, computed when first needed.

    Attributes:
        coder: entropy coder of the tables.
    """

    coder: EntropyCoder

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Return where the symbols of each row begin in `of_frequencies`, (row,)."""
        return self.coder.tables.starts()

    @cached_property
    def of_frequencies(self) -> NDArray[np.float32]:
        """Return the bits of every frequency of the tables; an escape's include the octets of its value."""
        tables = self.coder.tables
        bits = (np.log2(TOTAL) - np.log2(tables.frequencies.astype(np.float64))).astype(np.float32)
        bits[self.starts + tables.length] += 8 * self.coder.escape_octets
        return np.asarray(bits, np.float32)

    def bits(self, symbols: NDArray[np.integer[Any]], rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Return the bits of symbols under rows, both of one shape."""
        position = symbols - self.coder.tables.first[rows]
        length = self.coder.tables.length[rows]
        inside = (position >= 0) & (position < length)
        return np.asarray(self.of_frequencies[self.starts[rows] + np.where(inside, position, length)])
