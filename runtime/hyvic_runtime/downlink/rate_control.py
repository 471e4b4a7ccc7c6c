"""Finds the highest quality within a budget, and counts the octets that a downlink can carry.

All tiles that share a budget get the same quality. The gains of a quality are the step sizes of one λ. So one more
octet reduces the squared error of every tile by the same amount, and this minimises the sum of the errors. No tile has
to be decoded on board.

Measured on nineteen scenes of seven sensors, as tiles of one budget: the loss against the best allocation for the
measured rates and errors is 0.00 to 0.10 dB (docs/results/rate-control.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Generic, TypeVar

from hyvic_runtime.errors import RateError
from hyvic_runtime.packets.quality import QUALITY_CODES, code_of_position, log_rate_position

Result = TypeVar("Result")

INTERPOLATED_TRIALS = 6
"""Number of interpolated trials. After these the search halves its interval, because the measure is then not smooth."""


@dataclass(frozen=True, slots=True)
class Trial(Generic[Result]):
    """Result of trying one quality.

    Attributes:
        code: quality code.
        measure: quantity that must not exceed a limit.
        result: result for the caller.
    """

    code: int
    measure: float
    result: Result


def highest_within(
    attempt: Callable[[int], Trial[Result]],
    *,
    limit: float,
    slack: float,
    start: int,
    slope: float,
    codes: range = QUALITY_CODES,
    retry_offsets: Sequence[int] = (),
) -> Trial[Result] | None:
    """Return the trial of the highest quality found whose measure is at most `limit`, or None without such a trial.

    The search ends with a measure of at least `limit - slack`, at the highest quality, or between two adjacent codes.

    Args:
        attempt: tries a code. The measure rises with the code, sometimes by a jump or not at all.
        limit: largest allowed measure.
        slack: part of the limit that may stay unused.
        start: first code to try.
        slope: first guess of the change of the measure per code, between the rate levels.
        codes: all codes.
        retry_offsets: offsets of further codes to try above the higher of two adjacent codes, if the lower code leaves
            more than `slack` unused. A measure that jumps up may fall again.
    """
    lowest, highest = codes[0], codes[-1]
    farthest = log_rate_position(highest) - log_rate_position(lowest)
    low: Trial[Result] | None = None
    high: Trial[Result] | None = None
    code, stride = start, 1
    tried: set[int] = set()
    while True:
        trial = attempt(code)
        tried.add(code)
        aim = limit - slack / 2
        if trial.measure <= limit:
            low = trial
            if trial.measure >= limit - slack or code == highest:
                return low
        else:
            high = trial
            if code == lowest:
                return None
        if low is None or high is None:
            # Extrapolate with the guessed slope, and at least twice as far each time.
            stride = max(2 * stride, int(min(abs(aim - trial.measure) / slope, farthest)))
            position: float = log_rate_position(code) + (stride if high is None else -stride)
        elif high.code - low.code <= 1:
            # Codes tried before exceeded the limit, so do not try them again.
            above = sorted({min(high.code + offset, highest) for offset in retry_offsets} - tried)
            return next((trial for trial in map(attempt, above) if limit - slack <= trial.measure <= limit), low)
        else:
            share = 0.5
            if len(tried) <= INTERPOLATED_TRIALS and high.measure > low.measure and isfinite(low.measure):
                share = min(max((aim - low.measure) / (high.measure - low.measure), 0.05), 0.95)
            left, right = log_rate_position(low.code), log_rate_position(high.code)
            position = left + share * (right - left)
        least = lowest if low is None else low.code + 1
        most = highest if high is None else high.code - 1
        code = min(max(code_of_position(position), least), most)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownlinkBudget:
    """Capacity of a downlink during the acquisition of a scene.

    At every line, the packets sent so far take no more octets than the downlink could carry until then. Octets that
    easy terrain leaves unused are kept for later, at most `window_lines` lines' worth. Older octets are lost, as on a
    downlink that was idle.

    Attributes:
        octets_per_line: octets that the downlink carries in the time of one line.
        window_lines: largest number of lines whose octets are kept.
    """

    octets_per_line: float
    window_lines: int

    def __post_init__(self) -> None:
        if not self.octets_per_line > 0:
            raise ValueError(f"octets_per_line is {self.octets_per_line:g}; a positive number is needed")
        if self.window_lines < 1:
            raise ValueError(f"window_lines is {self.window_lines}; it must be at least 1")


class LeakyBucket:
    """Counts the octets that may be sent now."""

    def __init__(self, budget: DownlinkBudget, *, reserved: int) -> None:
        """Begin empty, and set the first `reserved` octets aside."""
        self._budget = budget
        self._level = -float(reserved)

    @property
    def octets(self) -> int:
        """Number of octets that may be sent now."""
        return max(0, int(self._level))

    def pass_lines(self, lines: int) -> None:
        """Add the octets that the downlink carries in the time of these lines."""
        full = self._budget.octets_per_line * max(self._budget.window_lines, lines)
        self._level = min(self._level + self._budget.octets_per_line * lines, full)

    def spend(self, octets: int) -> None:
        """Subtract octets that are sent.

        Raises:
            RateError: the downlink cannot carry so many octets now.
        """
        if octets > self.octets:
            raise RateError(f"{octets} octets are to be sent and the downlink carries {self.octets}; raise the budget")
        self._level -= octets
