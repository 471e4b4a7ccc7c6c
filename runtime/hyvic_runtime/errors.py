"""Errors that a user can act on.

HyvicError
├── SceneError            a scene cannot be read, or does not fit the bundle
├── BundleError           a bundle is missing, altered, or does not run correctly here
├── RateError             no rate of the bundle meets the budget or the fidelity
├── SecurityError         a key cannot be used
├── ArchiveError          a folder of streams cannot be decoded
├── EngineError           an engine library is missing, or refuses a graph
└── DecodeError           packets or units are invalid
    └── LostTilesError    the stream is valid, but some tiles cannot be decoded
"""

from __future__ import annotations


class HyvicError(Exception):
    """Base class of every error of this package; the message is one line that says what to do."""


class SceneError(HyvicError):
    """A scene cannot be read, or does not fit the bundle."""


class BundleError(HyvicError):
    """A bundle is missing, altered, or does not run correctly here."""


class RateError(HyvicError):
    """No rate of the bundle meets the budget or the fidelity."""


class SecurityError(HyvicError):
    """A key cannot be used."""


class EngineError(HyvicError):
    """An engine library is missing, or refuses a graph."""


class ArchiveError(HyvicError):
    """A folder of streams cannot be decoded."""


class DecodeError(HyvicError):
    """Packets or units are invalid."""


class LostTilesError(DecodeError):
    """The stream is valid, but some tiles cannot be decoded."""

    def __init__(self, *, lost: int, tiles: int, reason: str) -> None:
        super().__init__(
            f"{lost} of {tiles} tiles cannot be decoded ({reason}); send the scene again, or pass --conceal to "
            "write what arrived and mark the lost tiles"
        )
        self.lost, self.tiles = lost, tiles


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split())
