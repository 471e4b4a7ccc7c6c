"""Checked access to parsed JSON, whose errors name the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from enum import IntEnum
from typing import Any, TypeVar

from ccsds123.record import Record
from ccsds123.violations import ParameterError


class JsonObject:
    """A JSON object whose keys must all be used.

    >>> fields = JsonObject("image", {"N_X": 7, "N_W": 6})
    >>> fields.integer("N_X")
    7
    >>> fields.done()
    Traceback (most recent call last):
    ...
    ccsds123.violations.ParameterError: image has an unknown key 'N_W'
    """

    def __init__(self, name: str, value: object) -> None:
        if not isinstance(value, Mapping):
            raise ParameterError(f"{name} is not a JSON object")
        self._name, self._values, self._used = name, value, {"note"}

    def get(self, key: str, *default: Any) -> Any:
        """Return a value; without a default, the key must be there."""
        self._used.add(key)
        if key not in self._values and not default:
            raise ParameterError(f"{self._name} lacks {key}")
        return self._values.get(key, *default)

    def states(self, key: str) -> bool:
        """Return whether the key is there, with null or a value."""
        return key in self._values

    def integer(self, key: str, *default: int) -> int:
        """Return a value that must be an integer."""
        value = self.get(key, *default)
        if type(value) is not int:
            raise ParameterError(f"{key} of {self._name} is not an integer but {value!r}")
        return value

    def integer_or_null(self, key: str) -> int | None:
        """Return an integer, or None for null and for a missing key."""
        return None if self.get(key, None) is None else self.integer(key)

    def boolean(self, key: str, *default: bool) -> bool:
        """Return a value that must be true or false."""
        value = self.get(key, *default)
        if type(value) is not bool:
            raise ParameterError(f"{key} of {self._name} is neither true nor false but {value!r}")
        return value

    def values_of(self, kind: type[Record]) -> dict[str, Any]:
        """Return the values of a record's fields that have a key; a missing key leaves the record's default."""
        values: dict[str, Any] = {}
        for attribute in fields(kind):
            hint, field = kind.definitions()[attribute.name]
            if not field.key or (attribute.default is not MISSING and not self.states(field.key)):
                continue
            if field.words is not None:
                values[attribute.name] = one_of(field.key, self.get(field.key), field.words)
            else:
                values[attribute.name] = self.boolean(field.key) if hint is bool else self.integer(field.key)
        return values

    def done(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self._values:
            if key not in self._used:
                raise ParameterError(f"{self._name} has an unknown key {key!r}")


def json_from_record(record: Record) -> dict[str, Any]:
    """Return the values of a record's fields that have a key, the inverse of `JsonObject.values_of`."""
    values: dict[str, Any] = {}
    for name, (_, field) in record.definitions().items():
        if field.key:
            value = getattr(record, name)
            words = {meaning: word for word, meaning in (field.words or {}).items()}
            values[field.key] = words.get(value, int(value) if isinstance(value, IntEnum) else value)
    return values


T = TypeVar("T")


def one_of(key: str, value: object, choices: Mapping[str, T]) -> T:
    """Return the choice that a value names."""
    if not isinstance(value, str) or value not in choices:
        raise ParameterError(f"{key} {value!r} is not one of {', '.join(choices)}")
    return choices[value]


def list_of(name: str, value: object) -> list[Any] | tuple[Any, ...]:
    """Return a value that must be a list."""
    if not isinstance(value, list | tuple):
        raise ParameterError(f"{name} is not a list")
    return value


def rows_of(name: str, rows: Any, *, length: int | None = None) -> tuple[tuple[int, ...], ...]:
    """Return rows of integers, all of a length if one is given."""
    if (
        not isinstance(rows, list | tuple)
        or not all(isinstance(row, list | tuple) for row in rows)
        or not all(type(value) is int for row in rows for value in row)
        or (length is not None and any(len(row) != length for row in rows))
    ):
        raise ParameterError(f"{name} is not a list of lists of integers{f', {length} each' if length else ''}")
    return tuple(tuple(row) for row in rows)


def scalar_or_row(name: str, value: object) -> int | tuple[int, ...]:
    """Return a number, or a row with a number for every band."""
    if type(value) is int:
        return value
    if value is None:
        raise ParameterError(f"{name} is null; give a number, or a list with one for every band")
    return rows_of(name, [value])[0]
