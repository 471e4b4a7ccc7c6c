"""Supplementary information tables, CCSDS 123.0-B-2, 3.5 and 5.3.2.3."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, ClassVar

from ccsds123.bit_string import BitReader, BitWriter
from ccsds123.record import Field, Record
from ccsds123.violations import Violations, power_of_two

PURPOSES = {
    0: "scale",
    1: "offset",
    2: "wavelength",
    3: "full width at half maximum",
    4: "defect indicator",
    **dict.fromkeys(range(10, 16), "user-defined"),
}
"""Table 3-1; 5 to 9 are reserved."""
USER_DEFINED_DATA = "supplementary_user_defined_data"


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
class Table(Record):
    """Facts about any table, table 5-4.

    Attributes:
        purpose: 0..4 or 10..15 (table 3-1).
        structure: dimensions of the table (3.5.2.4).
        user_defined_data: 0..15.
    """

    purpose: Annotated[int, Field(reserved=2, width=4, key="table_purpose")]
    structure: Annotated[TableStructure, Field(reserved=1, width=2, key="table_structure")]
    user_defined_data: Annotated[
        int, Field("table's user-defined data", 0, 15, "table 5-4", reserved=1, width=4, key=USER_DEFINED_DATA)
    ] = 0

    def _check(self, wrong: Violations) -> None:
        if self.purpose not in PURPOSES:
            wrong.append(f"table purpose {self.purpose} is reserved (table 3-1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerTable(Table):
    """Table of unsigned or signed integers, 3.5.2.3.1 and 3.5.2.3.2.

    Attributes:
        bit_depth: D_I, 1..32.
        values: elements in the order of 5.3.2.3.2.2.
        signed: whether elements are in two's complement.
    """

    bit_depth: Annotated[int, Field("D_I", 1, 32, "3.5.2.3.1", width=5, zero=32, key="D_I")]
    values: tuple[int, ...]
    signed: bool = False

    def _check(self, wrong: Violations) -> None:
        Table._check(self, wrong)
        limit = power_of_two(self.bit_depth)
        low, high = (-limit // 2, limit // 2 - 1) if self.signed else (0, limit - 1)
        wrong.outside("table element", self.values, low, high, "3.5.2.3.1")

    @property
    def type_code(self) -> int:
        """Table Type field (table 5-4)."""
        return int(self.signed)

    def write_values(self, bits: BitWriter) -> None:
        """Append the elements, 5.3.2.3.2.2."""
        for value in self.values:
            bits.put(value % (1 << self.bit_depth), self.bit_depth)


@dataclass(frozen=True, slots=True)
class FloatElement(Record):
    """Element of a float table, 3.5.2.3.3, as its three fields.

    Attributes:
        sign: b, 0 or 1.
        exponent: α, 0..2^D_E − 1.
        significand: j, 0..2^D_F − 1.
    """

    sign: int
    exponent: int
    significand: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatTable(Table):
    """Table of floating-point numbers, 3.5.2.3.3.

    Attributes:
        significand_depth: D_F, 1..23.
        exponent_depth: D_E, 2..8.
        exponent_bias: β, 0..2^D_E − 1.
        values: elements in the order of 5.3.2.3.2.3.
    """

    significand_depth: Annotated[int, Field("D_F", 1, 23, "3.5.2.3.3", width=5, key="D_F")] = 23
    exponent_depth: Annotated[int, Field("D_E", 2, 8, "3.5.2.3.3", width=3, zero=8, key="D_E")] = 8
    exponent_bias: Annotated[int, Field(key="beta")] = 127
    values: tuple[FloatElement, ...]
    type_code: ClassVar[int] = 2  # Table Type field (table 5-4)

    def _check(self, wrong: Violations) -> None:
        Table._check(self, wrong)
        exponents, significands = power_of_two(self.exponent_depth), power_of_two(self.significand_depth)
        wrong.outside("β", self.exponent_bias, 0, exponents - 1, "3.5.2.3.3")
        wrong.outside("sign", tuple(v.sign for v in self.values), 0, 1, "3.5.2.3.3")
        wrong.outside("exponent", tuple(v.exponent for v in self.values), 0, exponents - 1, "3.5.2.3.3")
        wrong.outside("significand", tuple(v.significand for v in self.values), 0, significands - 1, "3.5.2.3.3")

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

    def write_values(self, bits: BitWriter) -> None:
        """Append the bias and the elements, 5.3.2.3.2.3."""
        bits.put(self.exponent_bias, self.exponent_depth)
        for value in self.values:
            bits.put(value.sign, 1)
            bits.put(value.exponent, self.exponent_depth)
            bits.put(value.significand, self.significand_depth)


SupplementaryTable = IntegerTable | FloatTable


def write_table(bits: BitWriter, table: SupplementaryTable) -> None:
    """Append a table, table 5-4 and 5.3.2.3.2."""
    bits.put(table.type_code, 2)
    bits.put_fields(table)
    table.write_values(bits)
    bits.fill()


def read_table(bits: BitReader, lines: int, samples: int, bands: int) -> SupplementaryTable:
    """Take a table of an image of this shape off the bits, table 5-4."""
    kind, facts = bits.get(2), bits.get_fields(Table)
    return read_table_data(bits, kind, facts["structure"].entries(lines, samples, bands), facts)


def read_table_data(bits: BitReader, kind: int, entries: int, facts: dict[str, Any]) -> SupplementaryTable:
    """Take a Table Data subblock off the bits, 5.3.2.3.2; the facts are the fields of `Table`."""
    table: SupplementaryTable
    if kind < 2:
        depth = bits.get_fields(IntegerTable, "bit_depth")["bit_depth"]
        bits.need(entries * depth)  # before a table of the announced size is built
        values = tuple(bits.get(depth) if kind == 0 else bits.get_signed(depth) for _ in range(entries))
        table = IntegerTable(values=values, bit_depth=depth, signed=kind == 1, **facts)
    else:
        if kind == 3:
            bits.refuse("table type 3 of a supplementary information table is not defined")
        depths = bits.get_fields(FloatTable, "significand_depth", "exponent_depth")
        significand, exponent = depths.values()
        bias = bits.get(exponent)
        bits.need(entries * (1 + exponent + significand))
        elements = [FloatElement(bits.get(1), bits.get(exponent), bits.get(significand)) for _ in range(entries)]
        table = FloatTable(values=tuple(elements), exponent_bias=bias, **depths, **facts)
    bits.skip_fill()
    return table
