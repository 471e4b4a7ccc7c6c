"""Records of the standard's parameters. One definition of a field serves its check, the header and parameter files."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np

from ccsds123.violations import Violations


@dataclass(frozen=True, slots=True)
class Field:
    """Definition of a record's field by the book; stands beside the type in `Annotated`.

    Attributes:
        symbol: the book's symbol or words.
        low, high: range of the value, or of every value of a table; empty if the record itself checks it.
        clause: source of the range.
        width: bits in the header; 0 if the field does not stand there among the others.
        zero: value that zeros in the header stand for; 2^width if the header has the value modulo 2^width.
        powers: whether the header counts how often `zero` is doubled.
        reserved: zeros in the header before the field.
        key: key in parameter files; empty if the field does not stand there under one key.
        words: words of parameter files for the values, if they have any.
    """

    symbol: str = ""
    low: int = 0
    high: int = -1
    clause: str = ""
    width: int = 0
    zero: int = 0
    powers: bool = False
    reserved: int = 0
    key: str = ""
    words: Mapping[str, Any] | None = None

    def code(self, value: int) -> int:
        """Return the bits that stand for a value in the header."""
        return (value // self.zero).bit_length() - 1 if self.powers else (value - self.zero) % (1 << self.width)

    def value(self, code: int) -> int:
        """Return the value that bits of the header stand for."""
        if self.powers:
            return self.zero << code
        return code or self.zero if self.zero == 1 << self.width else code + self.zero


@dataclass(frozen=True, slots=True)
class Record:
    """Base of the frozen dataclasses that hold parameters; checks one when it is put together.

    Integers of any kind become int; sequences and arrays become tuples. The code after this relies on it: a header is
    written differently for an int and for a table.

    Raises:
        ParameterError: with every field whose value has another type, or else with every violation.
    """

    def __post_init__(self) -> None:
        wrong = Violations()
        definitions = self.definitions()
        for name, (hint, _) in definitions.items():
            value = getattr(self, name)
            plain = _plain(value, hint)
            if plain is not value:
                object.__setattr__(self, name, plain)
            if not _fits(plain, hint):
                wrong.append(f"{name} is not {_words(hint)} but {reprlib.repr(value)}")
        wrong.complain()
        for name, (_, field) in definitions.items():
            value = getattr(self, name)
            if field.powers and not (value.bit_count() == 1 and field.low <= value <= field.high):
                wrong.append(
                    f"{field.symbol} {value} is not a power of two in {field.low}..{field.high} ({field.clause})"
                )
            elif field.low <= field.high:
                wrong.outside(field.symbol, value, field.low, field.high, field.clause)
        self._check(wrong)
        wrong.complain()

    def _check(self, wrong: Violations) -> None:
        """Note what the fields' own ranges do not tell."""

    @classmethod
    @cache
    def definitions(cls) -> dict[str, tuple[Any, Field]]:
        """Return the type and the definition of every field, by its name."""
        hints = get_type_hints(cls, include_extras=True)
        definitions = {}
        for field in fields(cls):
            hint = hints[field.name]
            definitions[field.name] = get_args(hint) if get_origin(hint) is Annotated else (hint, Field())
        return definitions


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
