"""Quality on the wire: whole codes, 100 a unit of quality."""

from __future__ import annotations

MAX_QUALITY = 100.0
QUALITY_STEPS = 100
"""Steps a unit of quality has on the wire: a quality is a multiple of 1/100."""
MAX_QUALITY_CODE = round(MAX_QUALITY * QUALITY_STEPS)
"""Of the highest level; the lowest has 0."""
CODES_PER_OCTAVE = 512
"""Beyond the levels, so many codes halve or double every quantiser step."""
LOWEST_CODE = -5 * CODES_PER_OCTAVE
"""Coarser, a tile is better served by its predicted means alone (docs/results/rate-control.md); and small scenes that
are coded scene-adaptively keep a budget of CR 1,024 so."""
HIGHEST_CODE = MAX_QUALITY_CODE + 6 * CODES_PER_OCTAVE
"""Finer, the picture gets no better, and symbols outgrow 16 bits."""
QUALITY_CODES = range(LOWEST_CODE, HIGHEST_CODE + 1)
LOWEST_QUALITY, HIGHEST_QUALITY = LOWEST_CODE / QUALITY_STEPS, HIGHEST_CODE / QUALITY_STEPS


def quality_code(quality: float) -> int:
    """A quality as packets carry it, LOWEST_CODE … HIGHEST_CODE.

    Raises:
        ValueError: it is not within LOWEST_QUALITY … HIGHEST_QUALITY.
    """
    if not LOWEST_QUALITY <= quality <= HIGHEST_QUALITY:
        raise ValueError(f"quality {quality:g} is outside {LOWEST_QUALITY:g}..{HIGHEST_QUALITY:g}")
    return round(quality * QUALITY_STEPS)


_PLACES_BEYOND = 4


def log_rate_position(code: int) -> int:
    """Where a code stands on an axis along which rates change evenly.

    Beyond the levels a code moves the steps about four times as far as between them (levels of λ a decade apart).
    """
    trained = min(max(code, 0), MAX_QUALITY_CODE)
    return trained + _PLACES_BEYOND * (code - trained)


def code_of_position(place: float) -> int:
    """The code nearest to a place."""
    trained = min(max(place, 0), MAX_QUALITY_CODE)
    return round(trained + (place - trained) / _PLACES_BEYOND)
