"""Violations of the standard in a set of parameters, collected so that one error names all of them."""

from __future__ import annotations

from collections.abc import Sequence


class ParameterError(ValueError):
    """Parameters break CCSDS 123.0-B-2; the message names each violation with its clause."""


def power_of_two(exponent: int) -> int:
    """Return 2^exponent for a bound; an exponent that is itself wrong counts as 0 or 64."""
    return 1 << min(max(exponent, 0), 64)


def band_values(table: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the values of a table that has one value for all bands, or one a band, or is not known (None).

    >>> band_values(3), band_values((1, 2)), band_values(None)
    ((3,), (1, 2), ())
    """
    if table is None:
        return ()
    return (table,) if isinstance(table, int) else table


class Violations(list[str]):
    """Sentences, each with the clause that is broken.

    >>> wrong = Violations()
    >>> wrong.outside("P", 16, 0, 15, "4.2")
    >>> wrong
    ['P 16 is outside 0..15 (4.2)']
    """

    def outside(self, name: str, value: int | tuple[int, ...] | None, low: int, high: int, clause: str) -> None:
        """Note a value, or the first of a table, that is outside low..high."""
        for one in band_values(value):
            if not low <= one <= high:
                self.append(f"{name} {one} is outside {low}..{high} ({clause})")
                return

    def other_lengths(self, name: str, rows: Sequence[Sequence[int]], lengths: Sequence[int], clause: str) -> None:
        """Note a table with a wrong number of rows, or the first row of a wrong length."""
        if len(rows) != len(lengths):
            self.append(f"{len(rows)} rows of {name} where {len(lengths)} are needed ({clause})")
        for number, (row, length) in enumerate(zip(rows, lengths, strict=False)):
            if len(row) != length:
                self.append(f"row {number} of {name} has {len(row)} values and needs {length} ({clause})")
                return

    def differs(self, name: str, given: int, own: int, clause: str) -> None:
        """Note a value of given tables that differs from the header's."""
        if given != own:
            self.append(f"{name} {given} of the given tables is not the header's {own} ({clause})")

    def complain(self) -> None:
        """Raise an error with everything noted, if there is anything."""
        if self:
            raise ParameterError("; ".join(self))
