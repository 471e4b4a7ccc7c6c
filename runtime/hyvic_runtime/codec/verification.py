"""Result of checking that an engine runs a bundle exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What an engine was found to do with a bundle.

    Attributes:
        engine: library, version and device.
        facts: numbers of the bundle that only its family has, for reports.
        expected: agreement with the exporter's outputs, for reports; None where the bundle holds none.
        expected_share: share of the expected symbols that came out equal, 0..1; None likewise.
    """

    engine: str
    facts: dict[str, int]
    expected: dict[str, Any] | None = None
    expected_share: float | None = None
