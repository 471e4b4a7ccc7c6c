"""Asymmetric numeral systems over grouped symbols.

Symbols are sorted, stably, by the row of the frequency table that codes them, so that each row is one call of the
coder instead of a model per symbol. ANS is a stack: the encoder pushes the last row first, and within a row the last
symbol first, and the decoder pops in reading order.

The coder is constriction's (Bamler 2022): 64-bit state, 32-bit words, 24-bit precision. Words are stored
little-endian.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import DecodeError, EngineError
from hyvic_runtime.frequency_table import FrequencyTables

SYMBOL_MIN, SYMBOL_MAX = -32768, 32767
ESCAPE_OCTETS = 2
"""An escaped value stands beside the ANS words."""


@dataclass(frozen=True)
class EntropyCoder:
    """Codes integer symbols under the rows of a bundle's frequency tables."""

    tables: FrequencyTables

    @cached_property
    def _library(self) -> Any:
        try:
            constriction: Any = import_module("constriction")  # its submodules exist at run time only
        except ImportError as error:
            raise EngineError("the ANS coder needs constriction: pip install constriction") from error
        return constriction.stream

    def describe(self) -> str:
        """Library and version, for reports."""
        return f"constriction {version('constriction')}"

    @cached_property
    def _models(self) -> list[Any]:
        # constriction rescales (2^24 - n) by the sum of n "probabilities" and adds 1 to each. Frequencies
        # minus one sum to exactly 2^24 - n, so the scale is 1, every step is exact and the model's
        # frequencies are the table's.
        return [
            self._library.model.Categorical(
                (self.tables.row(index) - np.uint32(1)).astype(np.float64), perfect=False, lazy=False
            )
            for index in range(len(self.tables.first))
        ]

    def encode(self, symbols: NDArray[np.integer[Any]], rows: NDArray[np.integer[Any]]) -> bytes:
        """Code symbols[i] under table rows[i].

        Args:
            symbols: 1-D, within SYMBOL_MIN..SYMBOL_MAX.
            rows: 1-D of the same length, row indices.

        Returns:
            Octets: count of escaped symbols (big-endian u32), their values in coding order (big-endian i16),
            ANS words (little-endian u32).
        """
        order, groups = _grouped(rows)
        grouped = symbols[order].astype(np.int32)
        used = [row for row, _ in groups]
        counts = [group.stop - group.start for _, group in groups]
        lengths = np.repeat(self.tables.length[used], counts)
        positions = grouped - np.repeat(self.tables.first[used], counts)
        escaped = np.flatnonzero(positions.view(np.uint32) >= lengths)  # a negative position is a large unsigned one
        positions[escaped] = lengths[escaped]
        coder = self._library.stack.AnsCoder()
        for row, group in reversed(groups):
            coder.encode_reverse(positions[group], self._models[row])
        values = grouped[escaped].astype(">i2")
        words: NDArray[np.uint32] = coder.get_compressed()
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
        try:
            coder = self._library.stack.AnsCoder(words)
        except ValueError as error:  # the last word of a state is never zero
            raise DecodeError("a coded unit ends in a zero word, which no encoder writes") from error
        order, groups = _grouped(rows)
        grouped = np.empty(rows.size, np.int32)
        used = 0
        for row, group in groups:
            positions = coder.decode(self._models[row], group.stop - group.start)
            escaped = np.flatnonzero(positions == self.tables.length[row])
            grouped[group] = positions + self.tables.first[row]
            if escaped.size:
                values = escapes[used : used + escaped.size]
                used += escaped.size
                if used > escape_count:
                    raise DecodeError(f"a coded unit announces {escape_count} escapes and uses more")
                grouped[group.start + escaped] = values
        if used != escape_count or not coder.is_empty():
            raise DecodeError("a coded unit holds more than its symbols")
        symbols = np.empty(rows.size, np.int32)
        symbols[order] = grouped
        return symbols


def _grouped(rows: NDArray[np.integer[Any]]) -> tuple[NDArray[np.intp], list[tuple[int, slice]]]:
    """Stable order by row, and the rows in use with the stretch of that order each takes."""
    highest = int(rows.max(initial=0))
    # uint8 and uint16 keys sort by radix, several times faster than a comparison sort.
    keys = rows.astype(np.uint8 if highest < 256 else np.uint16)
    order = np.argsort(keys, kind="stable")
    edges = np.searchsorted(keys[order], np.arange(highest + 2)).tolist()
    groups = [(row, slice(low, high)) for row, (low, high) in enumerate(itertools.pairwise(edges)) if low < high]
    return order, groups
