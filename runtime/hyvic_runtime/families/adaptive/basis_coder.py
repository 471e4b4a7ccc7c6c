"""Octets of a strip's basis, coded and decoded; docs/packet-format.md.

Every spectrum, the mean and the vectors, is coded as it is, or as its first or second differences along bands, in the
way that takes fewest bits. A vector is coded only in the bands that the vectors before it leave free. Each band has a
table of its own: where symbols of the vectors before were large, the next symbols will be large.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.frequency_table import TOTAL, FrequencyTables
from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.entropy.unit_coder import SYMBOL_MAX, SYMBOL_MIN, EntropyCoder
from hyvic_runtime.errors import BundleError, DecodeError
from hyvic_runtime.families.adaptive.planes import MAX_COMPONENTS, Integers
from hyvic_runtime.families.adaptive.strip_basis import SPREADS, StripBasis, pivot
from hyvic_runtime.families.adaptive.table_choice import SCALES

ORDERS = 3
"""Orders of differences: none, first, second."""
SHAPES = 3
"""Degrees to which the tables of a vector follow the activity of its bands: not at all, half, whole."""
SYMBOLS_PER_OCTET = 64
"""Most symbols that a unit may hold, so that a few octets cannot ask for much memory. Tables that may code a symbol in
less than 8 / SYMBOLS_PER_OCTET bits are not used."""

_LEAD = struct.Struct(">HHbBihBB")
_ACTIVE = 1 << 12
"""Activity of a band whose symbols are as large as the other symbols of their vectors."""
_LEAST_ACTIVE, _MOST_ACTIVE = _ACTIVE // 32, _ACTIVE * 32
_MAGNITUDE_BITS = 16
_MOST_FREQUENT = int(TOTAL * 2 ** (-8 / SYMBOLS_PER_OCTET))
_SLOPE_BITS = 12
"""Bits of the fraction of a slope, which is 16 bits in all."""
_SIDE_SYMBOLS = 4
"""Numbers of side information on a vector: spread, level, order and shape."""


@dataclass(frozen=True)
class BasisCoder:
    """Packs and unpacks bases.

    Attributes:
        coder: entropy coder of tables; the first SCALES are zero-centred, by rising scale.
    """

    coder: EntropyCoder

    def pack(self, basis: StripBasis, lines: int) -> bytes:
        """Return the octets of the basis unit of a strip of so many lines."""
        mean = basis.mean.astype(np.int64)
        # After the first element is subtracted, differences begin with zero; after the middle, elements fit 16 bits.
        middle, first = (int(mean.min()) + int(mean.max()) + 1) // 2, int(mean[0])
        offsets = (middle, first, first)
        flat = np.full((1, mean.size), _ACTIVE)
        of_mean = self._cheapest([_differences(mean - offset, order) for order, offset in enumerate(offsets)], flat)
        slope, bands = 0, _Bands(mean.size)
        vectors: list[_Coded] = []
        for vector in basis.vectors:
            elements = vector[bands.free].astype(np.int64)
            coded = self._vector(elements, bands)
            if not vectors:
                tried = _mean_regression(elements, mean)
                other = self._vector(elements - _predicted(mean, tried), bands)
                if other.bits < coded.bits:
                    slope, coded = tried, other
            vectors.append(coded)
            bands.take(vector, coded.symbols)
        start = int(basis.spread[0]) if len(basis) else 0
        side_info = np.array(
            [(start, of_mean.level, of_mean.order, 0)]
            + [
                (spread, vector.level, vector.order, vector.shape)
                for spread, vector in zip(basis.spread.tolist(), vectors, strict=True)
            ]
        )
        coded_side = self._cheapest(
            [np.diff(side_info, axis=0).ravel()], np.full((1, _SIDE_SYMBOLS * len(basis)), _ACTIVE)
        )
        lead = _LEAD.pack(
            lines,
            len(basis),
            basis.mean_exponent,
            of_mean.order * SCALES + of_mean.level,
            offsets[of_mean.order],
            slope,
            start,
            coded_side.level,
        )
        spectra = (of_mean, coded_side, *vectors)
        return lead + self.coder.encode_blocks([(coded.symbols, coded.tables) for coded in spectra])

    def unpack(self, octets: bytes, bands: int) -> tuple[StripBasis, int]:
        """Invert `pack` for a scene of so many bands; return the basis, and the lines of its strip.

        Raises:
            DecodeError: `pack` does not write such octets for such a scene.
        """
        if len(octets) < _LEAD.size:
            raise DecodeError(f"a basis unit of {len(octets)} octets ends within its first {_LEAD.size}")
        lines, components, mean_exponent, mean_coding, offset, slope, start, side_level = _LEAD.unpack_from(octets)
        if components > min(bands, MAX_COMPONENTS):
            raise DecodeError(f"a basis unit of {components} components; {min(bands, MAX_COMPONENTS)} are the most")
        symbols = bands + components * (_SIDE_SYMBOLS + bands) - components * (components - 1) // 2
        if symbols > SYMBOLS_PER_OCTET * len(octets):
            raise DecodeError(f"{len(octets)} octets cannot hold {components} components of {bands} bands")
        order, level = divmod(mean_coding, SCALES)
        if order >= ORDERS or side_level >= SCALES:
            raise DecodeError(
                f"a basis unit has differences of order {order} or a level of {side_level}, which is invalid"
            )
        reader, ladder = self.coder.reader(octets[_LEAD.size :]), self._ladder
        mean = _sums(reader.read(ladder.tables(level, np.full(bands, _ACTIVE))), order) + offset
        if np.abs(mean).max() > np.iinfo(np.int32).max:
            raise DecodeError("a spectrum of a basis unit outgrows 32 bits; its packets are damaged")
        steps = reader.read(ladder.tables(side_level, np.full(_SIDE_SYMBOLS * components, _ACTIVE)))
        side_info = np.cumsum(steps.reshape(components, _SIDE_SYMBOLS), axis=0, dtype=np.int64)
        side_info += np.array([start, level, order, 0])
        if ((side_info < 0) | (side_info >= (SPREADS, SCALES, ORDERS, SHAPES))).any():
            raise DecodeError("side information of a basis unit is outside its limits; its packets are damaged")
        vectors, state = np.zeros((components, bands), np.int32), _Bands(bands)
        for vector, (_, level, order, shape) in zip(vectors, side_info.tolist(), strict=True):
            coded = reader.read(ladder.tables(level, state.activity()[shape]))
            elements = _sums(coded, order)
            if len(state.free) == bands:
                elements += _predicted(mean, slope)
            if not elements.any() or elements.min() < SYMBOL_MIN or elements.max() > SYMBOL_MAX:
                raise DecodeError("a vector of a basis unit is zero or outgrows 16 bits; its packets are damaged")
            vector[state.free] = elements
            state.take(vector, coded)
        reader.finish()
        try:
            basis = StripBasis(
                mean_exponent=mean_exponent,
                mean=mean.astype(np.int32),
                vectors=vectors,
                spread=side_info[:, 0].astype(np.uint8),
            )
        except ValueError as error:
            raise DecodeError(f"a basis unit is damaged: {error}") from error
        return basis, lines

    def _vector(self, elements: Integers, bands: _Bands) -> _Coded:
        return self._cheapest([_differences(elements, order) for order in range(ORDERS)], bands.activity())

    def _cheapest(self, choices: list[Integers], activity: Integers) -> _Coded:
        """Choose the order of differences, and the level and shape of tables, that take fewest bits together.

        Args:
            choices: symbols (symbol,) of every order.
            activity: (shape, symbol).
        """
        symbols, ladder = np.stack(choices), self._ladder
        if not symbols.size:
            return _Coded(symbols=symbols[0], tables=symbols[0], order=0, level=0, shape=0, bits=0)
        expected = (np.abs(symbols)[:, None] * (_ACTIVE / activity)).mean(axis=-1)
        guessed = ladder.nearest(np.rint(expected * (1 << _MAGNITUDE_BITS)).astype(np.int64))

        def bits(order: Any, shape: Any, level: Any) -> NDArray[np.float32]:
            tables = ladder.tables(level[..., None], activity[shape])
            return np.asarray(self._costs.bits(np.broadcast_to(symbols[order], tables.shape), tables).sum(axis=-1))

        orders, shapes = np.indices(guessed.shape)
        fits = ((symbols >= SYMBOL_MIN) & (symbols <= SYMBOL_MAX)).all(axis=-1)
        costs = np.where(fits[:, None], bits(orders, shapes, guessed), np.inf)
        order, shape = (int(index) for index in np.unravel_index(costs.argmin(), costs.shape))
        levels = np.clip(guessed[order, shape] + np.arange(-2, 3), ladder.least, SCALES - 1)
        costs = bits(order, shape, levels)
        level, least = int(levels[costs.argmin()]), float(costs.min() if fits[order] else np.inf)
        return _Coded(symbols[order], ladder.tables(level, activity[shape]), order, level, shape, least)

    @cached_property
    def _costs(self) -> SymbolCosts:
        return SymbolCosts(self.coder)

    @cached_property
    def _ladder(self) -> _Ladder:
        return _Ladder.of(self.coder.tables)


class _Coded(NamedTuple):
    """Symbols of a spectrum, and the tables that code them."""

    symbols: Integers
    tables: Integers
    order: int
    level: int
    shape: int
    bits: float


class _Ladder(NamedTuple):
    """Tables by the magnitude that they expect; in integers, so that both ends choose alike.

    Attributes:
        least: first table that may be used.
        magnitude: (table,) mean magnitude of symbols, in steps of 2**-_MAGNITUDE_BITS.
    """

    least: int
    magnitude: NDArray[np.int64]

    @staticmethod
    def of(tables: FrequencyTables) -> _Ladder:
        if len(tables.first) < SCALES:
            raise BundleError(f"{len(tables.first)} frequency tables, {SCALES} are needed; export the bundle again")
        frequencies = [tables.row(row).astype(np.int64) for row in range(SCALES)]
        usable = [of_row.max() <= _MOST_FREQUENT for of_row in frequencies]
        if not usable[-1]:
            raise BundleError("every frequency table is too narrow for a spectral basis; export the bundle again")
        total = [
            int(np.abs(np.arange(first, first + len(of_row) - 1)) @ of_row[:-1])
            for first, of_row in zip(tables.first, frequencies, strict=False)
        ]
        magnitude = np.maximum.accumulate(np.array(total, np.int64) * (1 << _MAGNITUDE_BITS) // TOTAL)
        return _Ladder(least=SCALES - usable[::-1].index(False) if False in usable else 0, magnitude=magnitude)

    def nearest(self, magnitude: Integers) -> NDArray[np.int64]:
        """Return the table that expects each magnitude."""
        steps = self.magnitude[self.least :]
        return np.asarray(self.least + np.searchsorted((steps[:-1] + steps[1:]) // 2, magnitude))

    def tables(self, level: Any, activity: Integers) -> NDArray[np.int64]:
        """Return the tables of symbols; a vector's level is the table for ordinary activity. Arguments broadcast."""
        return self.nearest(self.magnitude[level] * activity // _ACTIVE)


class _Bands:
    """Bands that the vectors so far leave free, and the activity expected there.

    Attributes:
        free: bands in which the next vector has elements.
    """

    def __init__(self, bands: int) -> None:
        """Begin with no vector."""
        self.free = np.arange(bands)
        self._activity = np.full(bands, _ACTIVE)

    def activity(self) -> NDArray[np.int64]:
        """Return the activity of the free bands, (shape, band)."""
        whole = np.maximum(self._activity[self.free], _LEAST_ACTIVE)
        return np.stack([np.full(whole.size, _ACTIVE), (_ACTIVE + whole) // 2, whole])

    def take(self, vector: Integers, symbols: Integers) -> None:
        """Take a vector, (band,), and the symbols that coded its free bands."""
        magnitude = np.abs(symbols.astype(np.int64))
        found = np.minimum(_ACTIVE * magnitude * magnitude.size // max(int(magnitude.sum()), 1), _MOST_ACTIVE)
        self._activity[self.free] += 3 * (found - self._activity[self.free]) // 8
        self.free = self.free[self.free != pivot(vector)]


def _mean_regression(elements: Integers, mean: Integers) -> int:
    """Return the slope of the regression of a vector's differences on the mean's."""
    steps = np.diff(mean).astype(np.float64)
    slope = float(np.diff(elements) @ steps) / max(float(steps @ steps), 1) * (1 << _SLOPE_BITS)
    return int(np.clip(np.rint(slope), SYMBOL_MIN, SYMBOL_MAX))


def _predicted(mean: Integers, slope: int) -> NDArray[np.int64]:
    """Predict a first vector's elements from the mean: they are often alike, since light varies."""
    return np.asarray((mean - mean[0]) * slope >> _SLOPE_BITS)


def _differences(elements: Integers, order: int) -> Integers:
    return np.diff(elements, order, prepend=[0] * order)


def _sums(symbols: Integers, order: int) -> NDArray[np.int64]:
    """Invert `_differences`; sums reach 2**31 · (2**16)**2 / 2."""
    sums = symbols.astype(np.int64)
    for _ in range(order):
        sums = np.cumsum(sums)
    return sums
