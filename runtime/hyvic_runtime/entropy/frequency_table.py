"""Integer frequency tables, which orbit and ground share to the last bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import BundleError

PRECISION_BITS = 24
TOTAL = 2**PRECISION_BITS
"""Frequencies of a row add up to this: the precision of the ANS coder's 64-bit state and 32-bit words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequencyTables:
    """Rows of integer frequencies.

    A row codes the symbols first, first + 1, …, first + length - 1. After them stands one more frequency, the escape's,
    for every other symbol.

    Attributes:
        first: (row,) int32, smallest symbol.
        length: (row,) int32, number of symbols, at least 1.
        frequencies: uint32, length + 1 frequencies a row, row after row. Each is at least 1; a row's add up to TOTAL.
    """

    first: NDArray[np.int32]
    length: NDArray[np.int32]
    frequencies: NDArray[np.uint32]

    def __post_init__(self) -> None:
        first, length, frequencies = self.first, self.length, self.frequencies
        if first.ndim != 1 or first.shape != length.shape or frequencies.ndim != 1 or first.size == 0:
            raise BundleError("frequency tables have the wrong shape; export the bundle again")
        if (length < 1).any() or int(length.astype(np.int64).sum()) + length.size != frequencies.size:
            raise BundleError("frequency tables and their lengths disagree; export the bundle again")
        sums = np.add.reduceat(frequencies.astype(np.uint64), self.starts())
        if (frequencies == 0).any() or (sums != TOTAL).any():
            raise BundleError(f"a frequency table does not add up to {TOTAL}; export the bundle again")

    def starts(self) -> NDArray[np.int64]:
        """Return the position of every row's first frequency, (row,)."""
        ends = np.cumsum(self.length.astype(np.int64) + 1)
        return np.concatenate(([0], ends[:-1]))

    def row(self, index: int) -> NDArray[np.uint32]:
        """Return the frequencies of one row, the escape's last."""
        start = int(self.starts()[index])
        return self.frequencies[start : start + int(self.length[index]) + 1]
