"""Supplementary information tables, CCSDS 123.0-B-2, 3.5 and 5.3.2.3."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from ccsds123.bit_string import BitReader, BitWriter
from ccsds123.violations import Violations, power_of_two, settle

PURPOSES = {
    0: "scale",
    1: "offset",
    2: "wavelength",
    3: "full width at half maximum",
    4: "defect indicator",
    **dict.fromkeys(range(10, 16), "user-defined"),
}
"""Table 3-1; 5 to 9 are reserved."""


class TableStructure(IntEnum):
    """Structure of a table, 3.5.2.4; the value is the header's (table 5-4)."""

    ZERO_DIMENSIONAL = 0
    ONE_DIMENSIONAL = 1
    TWO_DIMENSIONAL_ZX = 2
    TWO_DIMENSIONAL_YX = 3

    def entries(self, lines: int, samples: int, bands: int) -> int:
        """Return the number of elements for an image of this shape."""
        return (1, bands, bands * samples, lines * samples)[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerTable:
    """Table of unsigned or signed integers, 3.5.2.3.1 and 3.5.2.3.2.

    Attributes:
        purpose: 0..4 or 10..15 (table 3-1).
        structure: dimensions of the table (3.5.2.4).
        values: elements in the order of 5.3.2.3.2.2.
        bit_depth: D_I, 1..32.
        signed: whether elements are in two's complement.
        user_defined_data: 0..15.
    """

    purpose: int
    structure: TableStructure
    values: tuple[int, ...]
    bit_depth: int
    signed: bool = False
    user_defined_data: int = 0

    def __post_init__(self) -> None:
        settle(self)
        wrong = Violations()
        _check_common(wrong, self.purpose, self.user_defined_data)
        wrong.outside("D_I", self.bit_depth, 1, 32, "3.5.2.3.1")
        limit = power_of_two(self.bit_depth)
        low, high = (-limit // 2, limit // 2 - 1) if self.signed else (0, limit - 1)
        wrong.any_outside("table element", self.values, low, high, "3.5.2.3.1")
        wrong.complain()

    @property
    def type_code(self) -> int:
        """Table Type field (table 5-4)."""
        return int(self.signed)

    def write_data(self, bits: BitWriter) -> None:
        """Append the Table Data subblock, 5.3.2.3.2.2."""
        bits.put(self.bit_depth % 32, 5)
        for value in self.values:
            bits.put(value % (1 << self.bit_depth), self.bit_depth)
        bits.fill()


@dataclass(frozen=True, slots=True)
class FloatElement:
    """Element of a float table, 3.5.2.3.3, as its three fields.

    Attributes:
        sign: b, 0 or 1.
        exponent: α, 0..2^D_E − 1.
        significand: j, 0..2^D_F − 1.
    """

    sign: int
    exponent: int
    significand: int

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatTable:
    """Table of floating-point numbers, 3.5.2.3.3.

    Attributes:
        purpose: 0..4 or 10..15 (table 3-1).
        structure: dimensions of the table (3.5.2.4).
        values: elements in the order of 5.3.2.3.2.3.
        significand_depth: D_F, 1..23.
        exponent_depth: D_E, 2..8.
        exponent_bias: β, 0..2^D_E − 1.
        user_defined_data: 0..15.
    """

    purpose: int
    structure: TableStructure
    values: tuple[FloatElement, ...]
    significand_depth: int = 23
    exponent_depth: int = 8
    exponent_bias: int = 127
    user_defined_data: int = 0

    def __post_init__(self) -> None:
        settle(self)
        wrong = Violations()
        _check_common(wrong, self.purpose, self.user_defined_data)
        wrong.outside("D_F", self.significand_depth, 1, 23, "3.5.2.3.3")
        wrong.outside("D_E", self.exponent_depth, 2, 8, "3.5.2.3.3")
        exponents = power_of_two(self.exponent_depth)
        wrong.outside("β", self.exponent_bias, 0, exponents - 1, "3.5.2.3.3")
        wrong.any_outside("sign", [v.sign for v in self.values], 0, 1, "3.5.2.3.3")
        wrong.any_outside("exponent", [v.exponent for v in self.values], 0, exponents - 1, "3.5.2.3.3")
        significands = power_of_two(self.significand_depth)
        wrong.any_outside("significand", [v.significand for v in self.values], 0, significands - 1, "3.5.2.3.3")
        wrong.complain()

    @property
    def type_code(self) -> int:
        """Table Type field (table 5-4)."""
        return 2

    def number(self, element: FloatElement) -> float:
        """Return the number that an element stands for, eqs. (16) and (17).

        The book's (−1)^β there is a slip for (−1)^b: the bias has no sign to give.

        >>> table = FloatTable(purpose=2, structure=TableStructure.ZERO_DIMENSIONAL, values=())
        >>> table.number(FloatElement(sign=1, exponent=128, significand=1 << 22))
        -3.0
        """
        sign = -1.0 if element.sign else 1.0
        if element.exponent == (1 << self.exponent_depth) - 1:
            return math.nan if element.significand else sign * math.inf
        hidden = 0 if element.exponent == 0 else 1 << self.significand_depth
        exponent = max(element.exponent, 1) - self.exponent_bias - self.significand_depth
        return sign * math.ldexp(hidden + element.significand, exponent)

    def write_data(self, bits: BitWriter) -> None:
        """Append the Table Data subblock, 5.3.2.3.2.3."""
        bits.put(self.significand_depth, 5)
        bits.put(self.exponent_depth % 8, 3)
        bits.put(self.exponent_bias, self.exponent_depth)
        for value in self.values:
            bits.put(value.sign, 1)
            bits.put(value.exponent, self.exponent_depth)
            bits.put(value.significand, self.significand_depth)
        bits.fill()


SupplementaryTable = IntegerTable | FloatTable


def write_table(bits: BitWriter, table: SupplementaryTable) -> None:
    """Append a table, table 5-4."""
    bits.put(table.type_code, 2)
    bits.put(0, 2)
    bits.put(table.purpose, 4)
    bits.put(0, 1)
    bits.put(table.structure, 2)
    bits.put(0, 1)
    bits.put(table.user_defined_data, 4)
    table.write_data(bits)


def read_table(bits: BitReader, lines: int, samples: int, bands: int) -> SupplementaryTable:
    """Take a table of an image of this shape off the bits, table 5-4."""
    kind = bits.get(2)
    bits.get_zeros(2)
    purpose = bits.get(4)
    bits.get_zeros(1)
    structure = TableStructure(bits.get(2))
    bits.get_zeros(1)
    user_defined_data = bits.get(4)
    return read_table_data(bits, kind, purpose, structure, user_defined_data, structure.entries(lines, samples, bands))


def read_table_data(
    bits: BitReader, kind: int, purpose: int, structure: TableStructure, user_defined_data: int, entries: int
) -> SupplementaryTable:
    """Take a Table Data subblock off the bits, 5.3.2.3.2."""
    table: SupplementaryTable
    if kind < 2:
        depth = bits.get(5) or 32
        bits.need(entries * depth)  # before a table of the announced size is built
        values = tuple(bits.get(depth) if kind == 0 else bits.get_signed(depth) for _ in range(entries))
        table = IntegerTable(
            purpose=purpose,
            structure=structure,
            values=values,
            bit_depth=depth,
            signed=kind == 1,
            user_defined_data=user_defined_data,
        )
    else:
        if kind == 3:
            bits.refuse("table type 3 of a supplementary information table is not defined")
        significand_depth, exponent_depth = bits.get(5), bits.get(3) or 8
        bias = bits.get(exponent_depth)
        bits.need(entries * (1 + exponent_depth + significand_depth))
        table = FloatTable(
            purpose=purpose,
            structure=structure,
            values=tuple(
                FloatElement(bits.get(1), bits.get(exponent_depth), bits.get(significand_depth)) for _ in range(entries)
            ),
            significand_depth=significand_depth,
            exponent_depth=exponent_depth,
            exponent_bias=bias,
            user_defined_data=user_defined_data,
        )
    bits.skip_fill()
    return table


def _check_common(wrong: Violations, purpose: int, user_defined_data: int) -> None:
    if purpose not in PURPOSES:
        wrong.append(f"table purpose {purpose} is reserved (table 3-1)")
    wrong.outside("supplementary user-defined data", user_defined_data, 0, 15, "table 5-4")
