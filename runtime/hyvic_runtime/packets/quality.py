"""Maps a quality to the whole number that packets carry, 100 codes per unit of quality.

Codes 0 to 10,000 cover the rate levels that the bundle was trained for:

    LOWEST_CODE ───────────── 0 ─────────────── 10,000 ───────────── HIGHEST_CODE
                coarser steps    trained levels         finer steps
"""

from __future__ import annotations

MAX_QUALITY = 100.0
QUALITY_STEPS = 100
"""Codes per unit of quality: on the wire a quality is a multiple of 1/100."""
MAX_QUALITY_CODE = round(MAX_QUALITY * QUALITY_STEPS)
"""Code of the highest trained level; the lowest trained level has code 0."""
CODES_PER_OCTAVE = 512
"""Number of codes that halve or double every quantiser step, outside the trained levels."""
LOWEST_CODE = -5 * CODES_PER_OCTAVE
"""Code of the coarsest quantiser.

With coarser steps, the predicted means alone serve a tile better (docs/results/rate-control.md). Down to this code, the
scene-adaptive codec keeps a budget of CR 1,024 on small scenes."""
HIGHEST_CODE = MAX_QUALITY_CODE + 6 * CODES_PER_OCTAVE
"""Code of the finest quantiser. With finer steps the picture gets no better, and symbols exceed 16 bits."""
QUALITY_CODES = range(LOWEST_CODE, HIGHEST_CODE + 1)
LOWEST_QUALITY, HIGHEST_QUALITY = LOWEST_CODE / QUALITY_STEPS, HIGHEST_CODE / QUALITY_STEPS


def quality_code(quality: float) -> int:
    """Return the code of a quality, LOWEST_CODE … HIGHEST_CODE.

    Raises:
        ValueError: the quality is outside LOWEST_QUALITY … HIGHEST_QUALITY.

    >>> quality_code(57.5), quality_code(-5.12)
    (5750, -512)
    """
    if not LOWEST_QUALITY <= quality <= HIGHEST_QUALITY:
        raise ValueError(f"quality {quality:g} is outside {LOWEST_QUALITY:g}..{HIGHEST_QUALITY:g}")
    return round(quality * QUALITY_STEPS)


_SLOPE_OUTSIDE = 4
"""Positions per code outside the trained levels; inside, one code is one position."""


def log_rate_position(code: int) -> int:
    """Return the position of a code on an axis along which the logarithm of the rate is about linear.

    Outside the trained levels, one code changes the quantiser step about four times as much as inside (measured with
    levels whose λ are a decade apart).

    >>> [log_rate_position(code) for code in (-512, 0, 5000, MAX_QUALITY_CODE + 512)]
    [-2048, 0, 5000, 12048]
    """
    trained = min(max(code, 0), MAX_QUALITY_CODE)
    return trained + _SLOPE_OUTSIDE * (code - trained)


def code_of_position(position: float) -> int:
    """Return the code nearest to a position of `log_rate_position`.

    >>> code_of_position(-2049.0)
    -512
    """
    trained = min(max(position, 0), MAX_QUALITY_CODE)
    return round(trained + (position - trained) / _SLOPE_OUTSIDE)
