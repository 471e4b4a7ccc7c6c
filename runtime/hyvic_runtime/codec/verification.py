"""Result of verifying a bundle with an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Result of running a bundle on an engine.

    Attributes:
        engine: library, version and device.
        facts: numbers that only the family of the bundle has, for reports.
        expected: agreement with the expected outputs, for reports; None if the bundle holds no expected outputs.
        expected_share: share of equal symbols, 0..1; None if the bundle holds no expected outputs.
    """

    engine: str
    facts: dict[str, int]
    expected: dict[str, Any] | None = None
    expected_share: float | None = None
