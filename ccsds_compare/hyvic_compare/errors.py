"""Errors of a comparison that a user can act on.

HyvicError (hyvic_runtime.errors)
├── ResultsFileError   a file does not hold the results of a comparison
├── RunError           training runs cannot be compared
└── TargetRatioError   a codec cannot make its stream as short as asked
"""

from __future__ import annotations

from collections.abc import Sequence

from hyvic_runtime.errors import HyvicError


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
