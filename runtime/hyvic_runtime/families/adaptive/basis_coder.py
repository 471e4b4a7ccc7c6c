"""A strip's basis to octets and back; docs/packet-format.md.

Every spectrum, the mean and the vectors, is coded as it is, or as its first or second differences along bands: whatever
takes fewest octets. Of a vector, only those bands are coded in which the vectors before leave something, each under a
row of its own: where symbols of the vectors before were large, those of the next will be.
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
from hyvic_runtime.families.adaptive.contexts import MAX_COMPONENTS
from hyvic_runtime.families.adaptive.strip_basis import SPREADS, StripBasis, pivot
from hyvic_runtime.families.adaptive.table_choice import SCALES

ORDERS = 3
"""Of differences: none, first, second."""
SHAPES = 3
"""How far the rows of a vector follow the activity of its bands: not at all, half, whole."""
SYMBOLS_PER_OCTET = 64
"""Most that a unit may hold, so that a few octets cannot ask for much memory. Tables that may code a symbol in less
than 8 / SYMBOLS_PER_OCTET bits are left alone."""

_LEAD = struct.Struct(">HHbBihBB")
_ACTIVE = 1 << 12
"""Activity of a band whose symbols are as large as the others of their vectors."""
_LEAST_ACTIVE, _MOST_ACTIVE = _ACTIVE // 32, _ACTIVE * 32
_MAGNITUDE_BITS = 16
_MOST_FREQUENT = int(TOTAL * 2 ** (-8 / SYMBOLS_PER_OCTET))
_SLOPE_BITS = 12
"""Of the fraction of a slope, which is 16 bits in all."""
_SIDE = 4
"""What is said of a vector: spread, level, order and shape."""

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
        said = np.array(
            [(start, of_mean.level, of_mean.order, 0)]
            + [
                (spread, vector.level, vector.order, vector.shape)
                for spread, vector in zip(basis.spread.tolist(), vectors, strict=True)
            ]
        )
        side = self._cheapest([np.diff(said, axis=0).ravel()], np.full((1, _SIDE * len(basis)), _ACTIVE))
        lead = _LEAD.pack(
            lines,
            len(basis),
            basis.mean_exponent,
            of_mean.order * SCALES + of_mean.level,
            offsets[of_mean.order],
            slope,
            start,
            side.level,
        )
        return lead + self.coder.encode_blocks([(coded.symbols, coded.rows) for coded in (of_mean, side, *vectors)])

    def unpack(self, octets: bytes, bands: int) -> tuple[StripBasis, int]:
        """Inverse of `pack`, for a scene of so many bands: the basis, and the lines of its strip.

        Raises:
            DecodeError: the octets cannot be what it wrote for such a scene.
        """
        if len(octets) < _LEAD.size:
            raise DecodeError(f"a basis unit of {len(octets)} octets ends within its first {_LEAD.size}")
        lines, components, mean_exponent, mean_coding, offset, slope, start, side_level = _LEAD.unpack_from(octets)
        if components > min(bands, MAX_COMPONENTS):
            raise DecodeError(f"a basis unit of {components} components; {min(bands, MAX_COMPONENTS)} are the most")
        symbols = bands + components * (_SIDE + bands) - components * (components - 1) // 2
        if symbols > SYMBOLS_PER_OCTET * len(octets):
            raise DecodeError(f"{len(octets)} octets cannot hold {components} components of {bands} bands")
        order, level = divmod(mean_coding, SCALES)
        if order >= ORDERS or side_level >= SCALES:
            raise DecodeError(
                f"a basis unit has differences of order {order} or a level of {side_level}, which is none"
            )
        reader, ladder = self.coder.reader(octets[_LEAD.size :]), self._ladder
        mean = _sums(reader.read(ladder.rows(level, np.full(bands, _ACTIVE))), order) + offset
        if np.abs(mean).max() > np.iinfo(np.int32).max:
            raise DecodeError("a spectrum of a basis unit outgrows 32 bits; its packets are damaged")
        side = reader.read(ladder.rows(side_level, np.full(_SIDE * components, _ACTIVE))).reshape(components, _SIDE)
        said = np.cumsum(side, axis=0, dtype=np.int64) + np.array([start, level, order, 0])
        if ((said < 0) | (said >= (SPREADS, SCALES, ORDERS, SHAPES))).any():
            raise DecodeError("what a basis unit says of its vectors is outside its limits; its packets are damaged")
        vectors, state = np.zeros((components, bands), np.int32), _Bands(bands)
        for vector, (_, level, order, shape) in zip(vectors, said.tolist(), strict=True):
            coded = reader.read(ladder.rows(level, state.activity()[shape]))
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
                spread=said[:, 0].astype(np.uint8),
            )
        except ValueError as error:
            raise DecodeError(f"a basis unit is damaged: {error}") from error
        return basis, lines

    def _vector(self, elements: Integers, bands: _Bands) -> _Coded:
        return self._cheapest([_differences(elements, order) for order in range(ORDERS)], bands.activity())

    def _cheapest(self, choices: list[Integers], activity: Integers) -> _Coded:
        """Symbols of the order of differences, and rows of the level and shape, that take fewest bits together.

        Args:
            choices: symbols, of every order.
            activity: (shape, symbol).
        """
        symbols, ladder = np.stack(choices), self._ladder
        if not symbols.size:
            return _Coded(symbols=symbols[0], rows=symbols[0], order=0, level=0, shape=0, bits=0)
        expected = (np.abs(symbols)[:, None] * (_ACTIVE / activity)).mean(axis=-1)
        guessed = ladder.nearest(np.rint(expected * (1 << _MAGNITUDE_BITS)).astype(np.int64))

        def bits(order: Any, shape: Any, level: Any) -> NDArray[np.float32]:
            rows = ladder.rows(level[..., None], activity[shape])
            return np.asarray(self._costs.bits(np.broadcast_to(symbols[order], rows.shape), rows).sum(axis=-1))

        orders, shapes = np.indices(guessed.shape)
        fits = ((symbols >= SYMBOL_MIN) & (symbols <= SYMBOL_MAX)).all(axis=-1)
        costs = np.where(fits[:, None], bits(orders, shapes, guessed), np.inf)
        order, shape = (int(index) for index in np.unravel_index(costs.argmin(), costs.shape))
        levels = np.clip(guessed[order, shape] + np.arange(-2, 3), ladder.least, SCALES - 1)
        costs = bits(order, shape, levels)
        level, least = int(levels[costs.argmin()]), float(costs.min() if fits[order] else np.inf)
        return _Coded(symbols[order], ladder.rows(level, activity[shape]), order, level, shape, least)

    @cached_property
    def _costs(self) -> SymbolCosts:
        return SymbolCosts(self.coder)

    @cached_property
    def _ladder(self) -> _Ladder:
        return _Ladder.of(self.coder.tables)


class _Coded(NamedTuple):
    """A spectrum as it is coded."""

    symbols: Integers
    rows: Integers
    order: int
    level: int
    shape: int
    bits: float


class _Ladder(NamedTuple):
    """The rows by what magnitude they expect, in integers: both ends choose among them alike.

    Attributes:
        least: the first row that may be used.
        magnitude: (row,) of its symbols on average, in steps of 2**-_MAGNITUDE_BITS.
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
        """The row that expects the magnitude."""
        steps = self.magnitude[self.least :]
        return np.asarray(self.least + np.searchsorted((steps[:-1] + steps[1:]) // 2, magnitude))

    def rows(self, level: Any, activity: Integers) -> NDArray[np.int64]:
        """Of symbols, all shapes that broadcast, of a vector whose level is the row of ordinary activity."""
        return self.nearest(self.magnitude[level] * activity // _ACTIVE)


class _Bands:
    """What the vectors so far leave to the next, and let expect of it.

    Attributes:
        free: bands in which the next vector has elements.
    """

    def __init__(self, bands: int) -> None:
        """Begin with no vector."""
        self.free = np.arange(bands)
        self._activity = np.full(bands, _ACTIVE)

    def activity(self) -> NDArray[np.int64]:
        """Of the free bands, (shape, band)."""
        whole = np.maximum(self._activity[self.free], _LEAST_ACTIVE)
        return np.stack([np.full(whole.size, _ACTIVE), (_ACTIVE + whole) // 2, whole])

    def take(self, vector: Integers, symbols: Integers) -> None:
        """Follow a vector, (band,), and the symbols that coded its free bands."""
        magnitude = np.abs(symbols.astype(np.int64))
        found = np.minimum(_ACTIVE * magnitude * magnitude.size // max(int(magnitude.sum()), 1), _MOST_ACTIVE)
        self._activity[self.free] += 3 * (found - self._activity[self.free]) // 8
        self.free = self.free[self.free != pivot(vector)]


def _mean_regression(elements: Integers, mean: Integers) -> int:
    """How much of the mean's differences is best taken off a vector's."""
    steps = np.diff(mean).astype(np.float64)
    slope = float(np.diff(elements) @ steps) / max(float(steps @ steps), 1) * (1 << _SLOPE_BITS)
    return int(np.clip(np.rint(slope), SYMBOL_MIN, SYMBOL_MAX))


def _predicted(mean: Integers, slope: int) -> NDArray[np.int64]:
    """A first vector's elements, which often are much like the mean's: light varies."""
    return np.asarray((mean - mean[0]) * slope >> _SLOPE_BITS)


def _differences(elements: Integers, order: int) -> Integers:
    return np.diff(elements, order, prepend=[0] * order)


def _sums(symbols: Integers, order: int) -> NDArray[np.int64]:
    """Inverse of `_differences`: up to 2**31 · (2**16)**2 / 2."""
    sums = symbols.astype(np.int64)
    for _ in range(order):
        sums = np.cumsum(sums)
    return sums
