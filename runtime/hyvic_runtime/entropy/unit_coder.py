"""Units of symbols: which table codes which symbol, in what order, and the values that no table holds.

Symbols come in blocks: one, or several where rows of later symbols depend on earlier symbols. A block's symbols are
sorted, stably, by the row of the frequency table that codes them. So each row is one stretch of the ANS coder's work.
The coder's words are stored little-endian.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.ans import AnsCoder, AnsDecoder, ans_coder
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.kernels import KernelKind

SYMBOL_MIN, SYMBOL_MAX = -32768, 32767
ESCAPE_OCTETS = 2
"""Octets of an escaped value, which stands beside the ANS words."""
_GROUPED_AT_ONCE = 1 << 16
"""Symbols up to which small blocks wait for each other. A call for each takes longer, and more take more memory."""


@dataclass(frozen=True)
class EntropyCoder:
    """Codes integer symbols under the rows of a bundle's frequency tables.

    Attributes:
        tables: frequency tables.
        kernels: implementation of the ANS coder, see `ans_coder`; all write the same octets.
        escape_octets: octets of an escaped value, 2 or 4.
    """

    tables: FrequencyTables
    kernels: KernelKind | None = None
    escape_octets: int = ESCAPE_OCTETS

    @cached_property
    def ans(self) -> AnsCoder:
        """Return the ANS coder of the tables."""
        return ans_coder(self.tables, self.kernels)

    def describe(self) -> str:
        """Return which ANS coder is in use, for reports."""
        return self.ans.describe()

    def encode(self, symbols: NDArray[np.integer[Any]], rows: NDArray[np.integer[Any]]) -> bytes:
        """Code symbols[i] under table rows[i]: `encode_blocks` of one block."""
        return self.encode_blocks([(symbols, rows)])

    def encode_blocks(self, blocks: Iterable[tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]]) -> bytes:
        """Code blocks of symbols one after another, each symbol under its row; see `BlockWriter`."""
        writer = self.writer()
        for symbols, rows in blocks:
            writer.write(symbols, rows)
        return writer.finish()

    def writer(self) -> BlockWriter:
        """Begin to encode blocks that come one by one."""
        return BlockWriter(self)

    def decode(self, data: bytes, rows: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Inverse of `encode`, given the same rows.

        Raises:
            DecodeError: the octets cannot be what `encode` wrote for these rows.
        """
        reader = self.reader(data)
        symbols = reader.read(rows)
        reader.finish()
        return symbols

    def reader(self, data: bytes) -> BlockReader:
        """Begin to decode a unit that `BlockWriter` made.

        Raises:
            DecodeError: no blocks are written like this.
        """
        if len(data) < 4:
            raise DecodeError(f"a coded unit has {len(data)} octets, at least 4 are needed")
        escape_count = int.from_bytes(data[:4], "big")
        words_at = 4 + self.escape_octets * escape_count
        if words_at > len(data) or (len(data) - words_at) % 4:
            raise DecodeError(f"a coded unit of {len(data)} octets cannot hold {escape_count} escapes and whole words")
        words = np.frombuffer(data, "<u4", offset=words_at).astype(np.uint32)
        if words.size and words[-1] == 0:
            raise DecodeError("a coded unit ends in a zero word, which no encoder writes")
        escapes = np.frombuffer(data, f">i{self.escape_octets}", escape_count, offset=4)
        return BlockReader(self, words, escapes)


class BlockWriter:
    """Encodes a unit block after block; `EntropyCoder.writer` makes it.

    It keeps one number a symbol. The octets are made at the end, from the last block on.
    """

    def __init__(self, coder: EntropyCoder) -> None:
        self._coder = coder
        self._waiting: list[tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]] = []
        self._symbols_waiting = 0
        self._positions = [np.zeros(0, np.int32)]
        self._counts = [np.zeros(0, np.int64)]
        self._escapes = [np.zeros(0, np.int32)]

    def write(self, symbols: NDArray[np.integer[Any]], rows: NDArray[np.integer[Any]]) -> None:
        """Add a block.

        Args:
            symbols: 1-D symbols, which fit an escaped value.
            rows: rows of the frequency tables, 1-D of the same length.

        Raises:
            ValueError: there is no such row.
        """
        if symbols.shape != rows.shape:
            raise ValueError(f"{symbols.shape} symbols under rows {rows.shape}: every symbol has one row")
        self._waiting.append((symbols, rows))
        self._symbols_waiting += rows.size
        if self._symbols_waiting >= _GROUPED_AT_ONCE:
            self._group()

    def _group(self) -> None:
        """Make positions of the blocks that wait, as if each had tables of its own: many may be small."""
        blocks, self._waiting, self._symbols_waiting = self._waiting, [], 0
        row_count = len(self._coder.tables.first)
        rows = np.concatenate([rows for _, rows in blocks], dtype=np.int32, casting="same_kind")
        if not 0 <= rows.min(initial=0) <= rows.max(initial=0) < row_count:
            raise ValueError(f"rows {rows.min()} to {rows.max()}: one is outside the {row_count} frequency tables")
        rows += np.repeat(np.arange(len(blocks), dtype=np.int32) * row_count, [len(of) for of, _ in blocks])
        grouping = _grouping(self._coder, rows, len(blocks))
        symbols = np.concatenate([symbols for symbols, _ in blocks])[grouping.order].astype(np.int32, copy=False)
        positions = symbols - grouping.first
        # A negative position is a large unsigned one.
        escaped = np.flatnonzero(positions.view(np.uint32) >= grouping.length.view(np.uint32))
        positions[escaped] = grouping.length[escaped]
        self._positions.append(positions)
        self._counts.append(grouping.counts)
        self._escapes.append(symbols[escaped])

    def finish(self) -> bytes:
        """Return the unit.

        Returns:
            Octets: count of escaped symbols (big-endian u32), their values in coding order (big-endian, signed),
            ANS words (little-endian u32).
        """
        if self._waiting:
            self._group()
        counts = np.concatenate(self._counts).reshape(-1, len(self._coder.tables.first))
        words = self._coder.ans.encode(np.concatenate(self._positions), counts)
        values = np.concatenate(self._escapes).astype(f">i{self._coder.escape_octets}")
        return b"".join((len(values).to_bytes(4, "big"), values.tobytes(), words.astype("<u4").tobytes()))


class BlockReader:
    """Decodes a unit block after block; `EntropyCoder.reader` makes it."""

    def __init__(self, coder: EntropyCoder, words: NDArray[np.uint32], escapes: NDArray[np.signedinteger[Any]]) -> None:
        """Begin.

        Args:
            coder: coder of the unit.
            words: ANS words of the unit.
            escapes: values of all blocks that the tables do not hold.
        """
        self._coder, self._escapes = coder, escapes
        self._decoder: AnsDecoder = coder.ans.decoder(words)
        self._symbols_read = self._escapes_read = 0

    def read(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return the symbols of the next block, given its rows.

        Raises:
            DecodeError: the block takes more escaped symbols than the unit has.
        """
        grouping = _grouping(self._coder, rows)
        of_rows = self._decoder.decode(grouping.counts)  # positions so far
        escaped = np.flatnonzero(of_rows == grouping.length)
        of_rows += grouping.first
        if escaped.size:
            values = self._escapes[self._escapes_read : self._escapes_read + escaped.size]
            if values.size < escaped.size:
                raise DecodeError(f"a coded unit announces {self._escapes.size} escapes and uses more")
            of_rows[escaped] = values
        self._escapes_read += escaped.size
        self._symbols_read += rows.size
        symbols = np.empty(rows.size, np.int32)
        symbols[grouping.order] = of_rows
        return symbols

    def finish(self) -> None:
        """Check that the unit holds the blocks that were read and nothing else.

        Raises:
            DecodeError: the unit holds more.
        """
        if self._escapes.size > self._symbols_read:
            raise DecodeError(
                f"a coded unit cannot hold {self._escapes.size} escapes among {self._symbols_read} symbols"
            )
        if self._escapes_read < self._escapes.size or not self._decoder.exhausted:
            raise DecodeError("a coded unit holds more than its symbols")


class _Grouping(NamedTuple):
    """Symbols of a block, grouped by row.

    Attributes:
        order: (symbol,) place of each in the block; stable.
        counts: (row,) number of symbols of every row of the tables.
        first: (symbol,) grouped, `first` of its row.
        length: (symbol,) grouped, `length` of its row.
    """

    order: NDArray[np.intp]
    counts: NDArray[np.int64]
    first: NDArray[np.int32]
    length: NDArray[np.int32]


def _grouping(coder: EntropyCoder, rows: NDArray[np.integer[Any]], blocks: int = 1) -> _Grouping:
    """Group so many blocks, whose rows follow each other's."""
    tables = coder.tables
    order, counts = coder.ans.grouped(rows, blocks * len(tables.first))
    first, length = (np.tile(values, blocks) for values in (tables.first, tables.length))
    # Looking rows up symbol by symbol is faster for a small block, and several times slower for a large one.
    if rows.size < counts.size:
        of_symbols = rows[order]
        return _Grouping(order, counts, first.take(of_symbols), length.take(of_symbols))
    return _Grouping(order, counts, first.repeat(counts), length.repeat(counts))
