"""Errors that a user can act on.

HyvicError
├── SceneError        a scene cannot be read, or is not what the bundle codes
├── BundleError       a bundle is missing, altered, or does not run here as it should
├── RateError         a budget or fidelity that the bundle's rates cannot meet
├── SecurityError     a key cannot be used
├── ArchiveError      many streams cannot be worked on
├── EngineError       the library that runs a graph is missing or refuses it
└── DecodeError       the packets do not hold what they announce
└── LostTilesError    well-formed as far as it goes, but tiles did not arrive
"""

from __future__ import annotations


class HyvicError(Exception):
    """Base of every error of this package; its message is one line that says what to do."""


class SceneError(HyvicError):
    """A scene cannot be read, or is not what the bundle codes."""


class BundleError(HyvicError):
    """A bundle is missing, altered, or does not run here as it should."""


class RateError(HyvicError):
    """A budget or fidelity that the bundle's rates cannot meet."""


class SecurityError(HyvicError):
    """A key cannot be used."""


class EngineError(HyvicError):
    """The library that runs a graph is missing or refuses it."""


class ArchiveError(HyvicError):
    """Many streams cannot be worked on."""


class DecodeError(HyvicError):
    """The packets do not hold what they announce."""


class LostTilesError(DecodeError):
    """Well-formed as far as it goes, but tiles did not arrive."""

    def __init__(self, *, lost: int, tiles: int, reason: str) -> None:
        super().__init__(
            f"{lost} of {tiles} tiles cannot be decoded ({reason}); send the scene again, or pass --conceal to "
            "write what arrived with the lost tiles marked"
        )
        self.lost, self.tiles = lost, tiles
