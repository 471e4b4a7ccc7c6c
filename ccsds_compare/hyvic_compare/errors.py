"""Errors of a comparison that a user can act on.

HyvicError (hyvic_runtime.errors)
├── ResultsFileError   a file does not hold the results of a comparison
├── RunError           training runs cannot be compared
└── TargetRatioError   a codec cannot make its stream as short as asked
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hyvic_runtime.errors import HyvicError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


class RunError(HyvicError):
    """Training runs cannot be compared; the message lists every reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class ResultsFileError(HyvicError):
    """A file does not hold the results of an earlier comparison."""


class TargetRatioError(HyvicError):
    """A codec cannot make its stream as short as asked."""

    def __init__(self, *, codec: str, target_ratio: float, allowed: int, needed: int) -> None:
        super().__init__(
            f"{codec}: CR {target_ratio:g} allows {allowed} octets and the shortest stream found takes {needed}; "
            "ask for a lower ratio or leave this codec out"
        )
        self.allowed, self.needed = allowed, needed


def invalid_entries(error: ValidationError) -> Iterator[str]:
    """Name every entry of a file that pydantic refuses, each in one line with its value."""
    for entry in error.errors():
        # A list of which every entry is wrong counts as empty, and its entries were named already.
        if not (entry["type"] == "too_short" and entry["input"]):
            yield _problem(entry)


def _problem(entry: ErrorDetails) -> str:
    place = ".".join(map(str, entry["loc"])) or "the file"
    if entry["type"] == "missing":
        return f"{place} is missing"
    if entry["type"] == "json_invalid":
        return entry["msg"]
    return f"{place} is {_shown(entry['input'])}; {entry['msg'].replace('Input', 'it')}"


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
