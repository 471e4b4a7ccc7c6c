"""Squares and rectangles of a scene that hold no pixel without data.

Nothing masks a loss: convolutions see across a pixel without data, so its rate and error cannot be told from those of
its neighbours. So no crop and no measured picture contains such a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeArea:
    """Area of a cube that is free of no-data.

    Attributes:
        corners: (square, 2), first line and sample of every free square of data.crop pixels.
        rectangle: lines and samples of the largest free rectangle.
    """

    corners: NDArray[np.intp]
    rectangle: tuple[slice, slice]


def free_corners(valid: NDArray[np.bool_], side: int) -> NDArray[np.intp]:
    """Find the squares of `side` pixels that hold only valid ones.

    Args:
        valid: (line, sample), whether a pixel has data.
        side: side of the square, in pixels.

    Returns:
        (square, 2): line and sample of each such square's first pixel, in reading order.
    """
    lines, samples = valid.shape
    if min(lines, samples) < side:
        return np.empty((0, 2), np.intp)
    sums = np.zeros((lines + 1, samples + 1), np.int64)
    sums[1:, 1:] = valid.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return np.argwhere(inside == side * side)


def largest_rectangle(valid: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Find lines and samples of the largest rectangle that holds only valid pixels; empty without any.

    Line by line, the columns of valid pixels that end there are a histogram, and the largest rectangle under a
    histogram is found with a stack of rising bars.

    Args:
        valid: (line, sample), whether a pixel has data.
    """
    best, area = (slice(0, 0), slice(0, 0)), 0
    heights = np.zeros(valid.shape[1] + 1, np.intp)  # the last bar is always empty and closes the others
    for line, row in enumerate(valid):
        heights[:-1] = (heights[:-1] + 1) * row
        rising: list[tuple[int, int]] = []  # (first sample, height)
        for sample, height in enumerate(heights.tolist()):
            first = sample
            while rising and rising[-1][1] >= height:
                first, closed = rising.pop()
                if closed * (sample - first) > area:
                    area = closed * (sample - first)
                    best = slice(line + 1 - closed, line + 1), slice(first, sample)
            rising.append((first, height))
    return best
