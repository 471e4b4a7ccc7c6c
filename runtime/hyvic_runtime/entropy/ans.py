"""Asymmetric numeral systems over positions grouped by row, in two implementations that write the same words.

A position says which frequency of its row codes a symbol. Positions come in blocks; a decoder may have to know one
block before it can tell the rows of the next. In a block positions are grouped by row, row 0 first, and `counts` says
how many each row has. So a row is one stretch of work instead of a model per symbol. ANS is a stack: the encoder pushes
the last block first, in a block the last row, and in a row the last position. The decoder pops in reading order.

State of 64 bits, words of 32, precision of 24 (docs/packet-format.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_runtime.errors import EngineError
from hyvic_runtime.kernels import INSTALL_NATIVE, KernelKind, chosen_kernels

STATE_WORDS = 2


class AnsDecoder(Protocol):
    """Takes positions off the words of a stream, in the order of coding."""

    @property
    def exhausted(self) -> bool:
        """True if the words hold the positions taken so far and nothing else."""
        ...

    def decode(self, counts: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return positions of the next block, or of several; counts are as in `AnsCoder.encode`."""
        ...


class AnsCoder(Protocol):
    """Codes positions under the rows of one set of frequency tables."""

    def grouped(self, rows: NDArray[np.integer[Any]], row_count: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Group the symbols of a block by row, each row's in their order.

        Args:
            rows: (symbol,) rows of a block.
            row_count: number of rows of the tables.

        Returns:
            Places (symbol,) in the block, row by row; and how many symbols each row has, (row,).

        Raises:
            ValueError: there is no such row.
        """
        ...

    def encode(self, positions: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return the words of positions; the last word is not zero.

        Args:
            positions: positions block after block, grouped by row in a block, each at most its row's length.
            counts: (block, row), or (row,) for a single block; they add up to the positions.
        """
        ...

    def decoder(self, words: NDArray[np.uint32]) -> AnsDecoder:
        """Begin to decode words, the last not zero."""
        ...

    def decode(self, words: NDArray[np.uint32], counts: NDArray[np.int64]) -> tuple[NDArray[np.int32], bool]:
        """Return all positions at once, and whether the words hold them and nothing else."""
        decoder = self.decoder(words)
        return decoder.decode(counts), decoder.exhausted

    def describe(self) -> str:
        """Return implementation and version, for reports."""
        ...


class ConstrictionCoder(AnsCoder):
    """The reference: constriction's `AnsCoder` (Bamler 2022), one call a row."""

    def __init__(self, tables: FrequencyTables) -> None:
        """Make a model of every row.

        Raises:
            EngineError: constriction is not installed.
        """
        try:
            constriction: Any = import_module("constriction")  # its submodules exist at run time only
        except ImportError as error:
            raise EngineError(
                f"the {KernelKind.REFERENCE} ANS coder is missing: pip install constriction; where it has no wheel, "
                f"{INSTALL_NATIVE}"
            ) from error
        self._stream: Any = constriction.stream
        # constriction rescales (2^24 - n) by the sum of n "probabilities" and adds 1 to each. Frequencies
        # minus one sum to exactly 2^24 - n, so the scale is 1, every step is exact and the model's
        # frequencies are the table's.
        self._models: list[Any] = [
            self._stream.model.Categorical((row - np.uint32(1)).astype(np.float64), perfect=False, lazy=False)
            for row in np.split(tables.frequencies, tables.starts()[1:])
        ]

    def grouped(self, rows: NDArray[np.integer[Any]], row_count: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        counts = np.bincount(rows, minlength=row_count).astype(np.int64, copy=False)
        if counts.size > row_count:
            raise ValueError(f"row {counts.size - 1} is outside the {row_count} frequency tables")
        # uint8 and uint16 keys sort by radix, several times faster than a comparison sort.
        keys = rows.astype(np.uint8 if row_count <= 256 else np.uint16 if row_count <= 65536 else np.intp)
        return keys.argsort(kind="stable"), counts

    def encode(self, positions: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.uint32]:
        coder = self._stream.stack.AnsCoder()
        for row, group in reversed(_groups(counts)):
            coder.encode_reverse(positions[group], self._models[row])
        words: NDArray[np.uint32] = coder.get_compressed()
        return words

    def decoder(self, words: NDArray[np.uint32]) -> AnsDecoder:
        return _ConstrictionDecoder(self._stream.stack.AnsCoder(words), self._models)

    def describe(self) -> str:
        return f"constriction {version('constriction')}"


class _ConstrictionDecoder:
    def __init__(self, coder: Any, models: Sequence[Any]) -> None:
        self._coder, self._models = coder, models

    @property
    def exhausted(self) -> bool:
        return bool(self._coder.is_empty())

    def decode(self, counts: NDArray[np.int64]) -> NDArray[np.int32]:
        positions = np.empty(counts.sum(), np.int32)
        for row, group in _groups(counts):
            positions[group] = self._coder.decode(self._models[row], group.stop - group.start)
        return positions


class NativeCoder(AnsCoder):
    """The runtime's own coder in C, about twice as fast (`make bench`)."""

    def __init__(self, tables: FrequencyTables) -> None:
        """Prepare the rows.

        Raises:
            EngineError: the package was installed without its C code.
        """
        chosen_kernels(KernelKind.NATIVE)
        from hyvic_runtime.kernels import _native

        self._library = _native
        self._tables = _native.ans_tables(
            np.ascontiguousarray(tables.length, np.int32), np.ascontiguousarray(tables.frequencies, np.uint32)
        )

    def grouped(self, rows: NDArray[np.integer[Any]], row_count: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        counts, order = np.empty(row_count, np.int64), np.empty(rows.size, np.int64)
        self._library.ans_group(np.ascontiguousarray(rows, np.int32), counts, order)
        return order, counts

    def encode(self, positions: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.uint32]:
        words = np.empty(positions.size + STATE_WORDS, np.uint32)  # a position writes one word at most
        used = self._library.ans_encode(
            self._tables, np.ascontiguousarray(positions, np.int32), np.ascontiguousarray(counts, np.int64), words
        )
        return words[:used]

    def decoder(self, words: NDArray[np.uint32]) -> AnsDecoder:
        return _NativeDecoder(partial(self._library.ans_decode, self._tables, np.ascontiguousarray(words, np.uint32)))

    def describe(self) -> str:
        return "the runtime's own C coder"


class _NativeDecoder:
    def __init__(self, decode: Callable[[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64]], bool]) -> None:
        self._decode = decode
        self._cursor = np.zeros(2, np.uint64)
        self.exhausted = False
        self.decode(np.zeros(0, np.int64))  # no blocks: only says whether there are any words

    def decode(self, counts: NDArray[np.int64]) -> NDArray[np.int32]:
        positions = np.empty(counts.sum(), np.int32)
        self.exhausted = self._decode(np.ascontiguousarray(counts, np.int64), positions, self._cursor)
        return positions


def ans_coder(tables: FrequencyTables, kernels: KernelKind | None = None) -> AnsCoder:
    """Make the ANS coder of some tables.

    Args:
        tables: frequency tables.
        kernels: implementation; None: see `chosen_kernels`.

    Raises:
        EngineError: the implementation is not installed.
    """
    return NativeCoder(tables) if chosen_kernels(kernels) is KernelKind.NATIVE else ConstrictionCoder(tables)


def _groups(counts: NDArray[np.int64]) -> list[tuple[int, slice]]:
    """Return the rows in use, block after block, and the stretch of positions of each."""
    used = np.flatnonzero(counts)
    sizes = counts.ravel()[used]
    ends = np.cumsum(sizes)
    rows = used % counts.shape[-1]
    return list(zip(rows.tolist(), map(slice, (ends - sizes).tolist(), ends.tolist()), strict=True))
