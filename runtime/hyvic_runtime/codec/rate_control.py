"""Rates that keep a budget.

One quality for all tiles that share a budget is how their octets are allocated. The gains of a quality are the step
sizes of one λ, so that an octet more takes the same squared error off every tile, which is what minimises their sum.
Measured over nineteen scenes of seven sensors as tiles of one budget, against the best allocation that their measured
rates and errors allow: 0.00 to 0.10 dB (docs/results/rate-control.md). So nothing has to be decoded on board.
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
"""After these the search halves its interval: what it measures is then no smooth function of the quality."""


@dataclass(frozen=True, slots=True)
class Trial(Generic[Result]):
    """What a quality gave.

    Attributes:
        code: of the quality.
        measure: which must not pass a limit.
        result: for the caller.
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
    """The trial of the highest quality found whose measure is at most `limit`; None if there is none.

    The search ends with a measure of `limit - slack` or more, at the highest quality, or between two neighbours.

    Args:
        attempt: tries a code; its measure rises with it, here and there by leaps or not at all.
        limit: of the measure.
        slack: that may be left.
        start: first code.
        slope: of the measure, a first guess for a step of the code between rate levels.
        codes: all there are.
        retry_offsets: distances above the higher code at which others are tried, once two neighbours are left and the
            lower one leaves more than `slack`: a measure that leaps up may fall again.
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
            # Outwards by the guessed slope, and farther each time.
            stride = max(2 * stride, int(min(abs(aim - trial.measure) / slope, farthest)))
            place: float = log_rate_position(code) + (stride if high is None else -stride)
        elif high.code - low.code <= 1:
            # What was tried there passed the limit.
            above = sorted({min(high.code + far, highest) for far in retry_offsets} - tried)
            return next((trial for trial in map(attempt, above) if limit - slack <= trial.measure <= limit), low)
        else:
            share = 0.5
            if len(tried) <= INTERPOLATED_TRIALS and high.measure > low.measure and isfinite(low.measure):
                share = min(max((aim - low.measure) / (high.measure - low.measure), 0.05), 0.95)
            left, right = log_rate_position(low.code), log_rate_position(high.code)
            place = left + share * (right - left)
        least = lowest if low is None else low.code + 1
        most = highest if high is None else high.code - 1
        code = min(max(code_of_position(place), least), most)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownlinkBudget:
    """What a downlink carries while a scene is acquired.

    Up to any line the packets take no more octets than the lines before it are worth. What easy terrain leaves is kept
    for later, as far as the window reaches; what is older is lost to the scene, as it is to a downlink that idles.

    Attributes:
        octets_per_line: what the downlink carries in the time of a line.
        window_lines: as many lines' worth are kept.
    """

    octets_per_line: float
    window_lines: int

    def __post_init__(self) -> None:
        if not self.octets_per_line > 0:
            raise ValueError(f"a downlink of {self.octets_per_line:g} octets a line carries nothing")
        if self.window_lines < 1:
            raise ValueError(f"a window of {self.window_lines} lines is none")


class LeakyBucket:
    """Octets that may be sent by now."""

    def __init__(self, budget: DownlinkBudget, *, reserved: int) -> None:
        """Begin empty, with `reserved` octets to be set aside."""
        self._budget = budget
        self._level = -float(reserved)

    @property
    def octets(self) -> int:
        """That may be sent now."""
        return max(0, int(self._level))

    def pass_lines(self, lines: int) -> None:
        """Lines came, and with them the time to send."""
        full = self._budget.octets_per_line * max(self._budget.window_lines, lines)
        self._level = min(self._level + self._budget.octets_per_line * lines, full)

    def spend(self, octets: int) -> None:
        """Octets are sent.

        Raises:
            RateError: they are more than may be.
        """
        if octets > self.octets:
            raise RateError(f"{octets} octets are to be sent and the downlink carries {self.octets}; give it more")
        self._level -= octets
