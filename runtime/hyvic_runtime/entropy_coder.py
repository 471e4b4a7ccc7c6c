"""Symbols to octets: which table codes which symbol, in what order, and what no table holds.

Symbols are sorted, stably, by the row of the frequency table that codes them, so that each row is one stretch of the
ANS coder's work. Its words are stored little-endian.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.ans import AnsCoder, installed_coder
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.frequency_table import FrequencyTables

SYMBOL_MIN, SYMBOL_MAX = -32768, 32767
ESCAPE_OCTETS = 2
"""An escaped value stands beside the ANS words."""


@dataclass(frozen=True)
class EntropyCoder:
    """Codes integer symbols under the rows of a bundle's frequency tables.

    Attributes:
        tables: what every symbol costs.
        coder: makes the ANS coder of the tables; all write the same octets.
    """

    tables: FrequencyTables
    coder: Callable[[FrequencyTables], AnsCoder] = installed_coder

    @cached_property
    def _ans(self) -> AnsCoder:
        return self.coder(self.tables)

    def describe(self) -> str:
        """Which ANS coder is in use, for reports."""
        return self._ans.describe()

    def encode(self, symbols: NDArray[np.integer[Any]], rows: NDArray[np.integer[Any]]) -> bytes:
        """Code symbols[i] under table rows[i].

        Args:
            symbols: 1-D, within SYMBOL_MIN..SYMBOL_MAX.
            rows: 1-D of the same length, row indices.

        Returns:
            Octets: count of escaped symbols (big-endian u32), their values in coding order (big-endian i16),
            ANS words (little-endian u32).
        """
        order, counts = self._grouped(rows)
        grouped = symbols[order].astype(np.int32)
        lengths = np.repeat(self.tables.length, counts)
        positions = grouped - np.repeat(self.tables.first, counts)
        # A negative position is a large unsigned one.
        escaped = np.flatnonzero(positions.view(np.uint32) >= lengths.view(np.uint32))
        positions[escaped] = lengths[escaped]
        words = self._ans.encode(positions, counts)
        values = grouped[escaped].astype(">i2")
        return b"".join((len(values).to_bytes(4, "big"), values.tobytes(), words.astype("<u4").tobytes()))

    def decode(self, data: bytes, rows: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Inverse of `encode`, given the same rows.

        Raises:
            DecodeError: the octets cannot be what `encode` wrote for these rows.
        """
        if len(data) < 4:
            raise DecodeError(f"a coded unit has {len(data)} octets, at least 4 are needed")
        escape_count = int.from_bytes(data[:4], "big")
        words_at = 4 + ESCAPE_OCTETS * escape_count
        if escape_count > rows.size or words_at > len(data) or (len(data) - words_at) % 4:
            raise DecodeError(
                f"a coded unit of {len(data)} octets cannot hold {escape_count} escapes among {rows.size} symbols"
            )
        escapes = np.frombuffer(data, ">i2", escape_count, offset=4)
        words = np.frombuffer(data, "<u4", offset=words_at).astype(np.uint32)
        if words.size and words[-1] == 0:
            raise DecodeError("a coded unit ends in a zero word, which no encoder writes")
        order, counts = self._grouped(rows)
        positions, exhausted = self._ans.decode(words, counts)
        grouped = positions + np.repeat(self.tables.first, counts)
        escaped = np.flatnonzero(positions == np.repeat(self.tables.length, counts))
        if escaped.size > escape_count:
            raise DecodeError(f"a coded unit announces {escape_count} escapes and uses more")
        if escaped.size < escape_count or not exhausted:
            raise DecodeError("a coded unit holds more than its symbols")
        grouped[escaped] = escapes
        symbols = np.empty(rows.size, np.int32)
        symbols[order] = grouped
        return symbols

    def _grouped(self, rows: NDArray[np.integer[Any]]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Stable order by row, and how many symbols every row of the tables has."""
        row_count = len(self.tables.first)
        counts = np.bincount(rows, minlength=row_count).astype(np.int64)
        if counts.size > row_count:
            raise ValueError(f"row {counts.size - 1} is outside the {row_count} frequency tables")
        # uint8 and uint16 keys sort by radix, several times faster than a comparison sort.
        keys = rows.astype(np.uint8 if row_count <= 256 else np.uint16 if row_count <= 65536 else np.intp)
        return np.argsort(keys, kind="stable"), counts
