"""Violations of the standard in a set of parameters, collected so that one error names all of them."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from enum import IntEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np


class ParameterError(ValueError):
    """Parameters break CCSDS 123.0-B-2; the message names each violation with its clause."""


def settle(record: Any) -> None:
    """Convert the fields of a frozen dataclass to exactly the types that they declare.

    Integers of any kind become int; sequences and arrays become tuples. The code after this relies on it: a header is
    written differently for an int and for a table.

    Raises:
        ParameterError: with every field whose value has another type.
    """
    wrong = Violations()
    for name, hint in _hints(record.__class__).items():
        value = getattr(record, name)
        plain = _plain(value, hint)
        if plain is not value:
            object.__setattr__(record, name, plain)
        if not _fits(plain, hint):
            wrong.append(f"{name} is not {_words(hint)} but {reprlib.repr(value)}")
    wrong.complain()


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _plain(value: Any, hint: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        settled = type(value) is tuple and all(type(item) is int for item in value)
        return value if settled else tuple(_plain(item, None) for item in value)
    if not isinstance(value, int | str | bytes | bytearray):
        with suppress(TypeError):
            value = operator.index(value)
    if type(value) is int:
        for kind in (hint, *get_args(hint)):
            if isinstance(kind, type) and issubclass(kind, IntEnum) and value in list(kind):
                return kind(value)
    return value


def _fits(value: object, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    if isinstance(hint, UnionType):
        return " or ".join(_words(one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        return "a list of integers" if item is int else f"a list, each entry {_words(item)},"
    return {int: "an integer", bool: "True or False", NoneType: "None"}.get(hint, f"of {hint.__name__}")


def power_of_two(exponent: int) -> int:
    """Return 2^exponent for a bound; an exponent that is itself wrong counts as 0 or 64."""
    return 1 << min(max(exponent, 0), 64)


class Violations(list[str]):
    """Sentences, each with the clause that is broken.

    >>> wrong = Violations()
    >>> wrong.outside("P", 16, 0, 15, "4.2")
    >>> wrong
    ['P 16 is outside 0..15 (4.2)']
    """

    def outside(self, name: str, value: object, low: int, high: int, clause: str) -> None:
        """Note a value that is not an integer in low..high."""
        if not isinstance(value, int) or isinstance(value, bool):
            self.append(f"{name} {value!r} is not an integer ({clause})")
        elif not low <= value <= high:
            self.append(f"{name} {value} is outside {low}..{high} ({clause})")

    def any_outside(self, name: str, values: Sequence[object], low: int, high: int, clause: str) -> None:
        """Note the first value that is not an integer in low..high."""
        for value in values:
            before = len(self)
            self.outside(name, value, low, high, clause)
            if len(self) > before:
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
