"""A strip's basis to octets and back; docs/packet-format.md.

Every spectrum, the mean and the vectors, is coded as it is, or as its first or second differences along bands, under
one row of the bundle's tables: whatever takes fewest octets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.adaptive.contexts import MAX_COMPONENTS
from hyvic_runtime.adaptive.spectral_basis import StripBasis
from hyvic_runtime.adaptive.table_rows import SCALES
from hyvic_runtime.entropy_coder import SYMBOL_MAX, SYMBOL_MIN, EntropyCoder
from hyvic_runtime.errors import BundleError, DecodeError
from hyvic_runtime.frequency_table import PRECISION_BITS

ORDERS = 3
"""Of differences: none, first, second."""
SYMBOLS_PER_OCTET = 64
"""Most that a unit may hold, so that a few octets cannot ask for much memory. An encoder keeps to it by leaving alone
the tables that may code a symbol in less than 8 / SYMBOLS_PER_OCTET bits."""

_LEAD = struct.Struct(">HHbBi")
_VECTOR = struct.Struct(">bBB")

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class BasisCoder:
    """Packs and unpacks bases.

    Attributes:
        coder: of tables whose first SCALES rows are zero-centred, by rising scale.
    """

    coder: EntropyCoder

    def pack(self, basis: StripBasis, lines: int) -> bytes:
        """Octets of the basis unit of a strip of so many lines."""
        mean = basis.mean.astype(np.int64)
        # With the first element as offset, differences begin with zero; from the middle, all elements fit 16 bits.
        middle, first = (int(mean.min()) + int(mean.max()) + 1) // 2, int(mean[0])
        coded = min(
            (self._coded(mean, order, offset) for order, offset in enumerate((middle, first, first))), key=_bits
        )
        vectors = [min((self._coded(vector, order) for order in range(ORDERS)), key=_bits) for vector in basis.vectors]
        lead = _LEAD.pack(lines, len(basis), basis.mean_exponent, coded.octet, coded.offset)
        leads = [
            _VECTOR.pack(exponent, vector.octet, spread)
            for exponent, vector, spread in zip(basis.exponents, vectors, basis.spread, strict=True)
        ]
        spectra = (coded, *vectors)
        rows = np.repeat(np.array([spectrum.row for spectrum in spectra], np.uint8), mean.size)
        return lead + b"".join(leads) + self.coder.encode(np.concatenate([s.symbols for s in spectra]), rows)

    def unpack(self, octets: bytes, bands: int) -> tuple[StripBasis, int]:
        """Inverse of `pack`, for a scene of so many bands: the basis, and the lines of its strip.

        Raises:
            DecodeError: the octets cannot be what it wrote for such a scene.
        """
        if len(octets) < _LEAD.size:
            raise DecodeError(f"a basis unit of {len(octets)} octets ends within its first {_LEAD.size}")
        lines, components, mean_exponent, mean_coding, offset = _LEAD.unpack_from(octets)
        symbols_at = _LEAD.size + _VECTOR.size * components
        if components > min(bands, MAX_COMPONENTS):
            raise DecodeError(f"a basis unit of {components} components; {min(bands, MAX_COMPONENTS)} are the most")
        spectra = components + 1
        if symbols_at > len(octets) or spectra * bands > SYMBOLS_PER_OCTET * len(octets):
            raise DecodeError(f"{len(octets)} octets cannot hold {components} components of {bands} bands")
        leads = np.frombuffer(octets, np.uint8, components * _VECTOR.size, _LEAD.size).reshape(components, _VECTOR.size)
        orders, rows = np.divmod(np.array([mean_coding, *leads[:, 1]], np.uint8), SCALES)
        if orders.max() >= ORDERS:
            raise DecodeError(f"a basis unit has differences of order {orders.max()}, which is none")
        symbols = self.coder.decode(octets[symbols_at:], np.repeat(rows, bands))
        elements = symbols.reshape(spectra, bands).astype(np.int64)  # up to 2**31 · (2**16)**2 / 2 in second sums
        for order in range(1, ORDERS):
            summed = orders >= order
            elements[summed] = np.cumsum(elements[summed], axis=1)
        elements[0] += offset
        if np.abs(elements).max() > np.iinfo(np.int32).max:
            raise DecodeError("a spectrum of a basis unit outgrows 32 bits; its packets are damaged")
        try:
            basis = StripBasis(
                mean_exponent=mean_exponent,
                mean=elements[0].astype(np.int32),
                exponents=leads[:, 0].astype(np.int8),
                vectors=elements[1:].astype(np.int32),
                spread=leads[:, 2].copy(),
            )
        except ValueError as error:
            raise DecodeError(f"a basis unit is damaged: {error}") from error
        return basis, lines

    def _coded(self, elements: Integers, order: int, offset: int = 0) -> _Coded:
        """Elements less an offset in differences of some order, under the row that codes them in fewest bits."""
        symbols = np.diff(elements - offset, order, prepend=[0] * order)
        if symbols.min() < SYMBOL_MIN or symbols.max() > SYMBOL_MAX:
            return _Coded(bits=np.inf, row=0, order=order, offset=offset, symbols=symbols)
        least, bits = self._row_bits
        values, counts = np.unique(symbols, return_counts=True)
        # The columns at either end are of what no row holds.
        row_bits = np.take(bits, values - least, axis=1, mode="clip") @ counts
        row = int(row_bits.argmin())
        return _Coded(bits=float(row_bits[row]), row=row, order=order, offset=offset, symbols=symbols)

    @cached_property
    def _row_bits(self) -> tuple[int, NDArray[np.float64]]:
        """The symbol of the first column, and what symbols cost: (row, symbol), infinity in rows that are not used."""
        tables = self.coder.tables
        if len(tables.first) < SCALES:
            raise BundleError(f"{len(tables.first)} frequency tables, {SCALES} are needed; export the bundle again")
        least = int(tables.first[:SCALES].min()) - 1
        beyond = int((tables.first + tables.length)[:SCALES].max())
        bits = np.full((SCALES, beyond - least + 1), np.inf)
        for row, (first, length) in enumerate(zip(tables.first[:SCALES], tables.length[:SCALES], strict=True)):
            costs = PRECISION_BITS - np.log2(tables.row(row))
            if costs.min() >= 8 / SYMBOLS_PER_OCTET:
                bits[row] = costs[-1] + 8 * self.coder.escape_octets
                bits[row, first - least : first - least + length] = costs[:-1]
        if np.isinf(bits).all():
            raise BundleError("every frequency table is too narrow for a spectral basis; export the bundle again")
        return least, bits


class _Coded(NamedTuple):
    """A spectrum as it may be coded."""

    bits: float
    row: int
    order: int
    offset: int
    symbols: Integers

    @property
    def octet(self) -> int:
        """Order and row on the wire."""
        return self.order * SCALES + self.row


def _bits(coded: _Coded) -> float:
    return coded.bits
