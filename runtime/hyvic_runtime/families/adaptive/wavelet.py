"""The 9/7 wavelet of a strip's components, by lifting (Daubechies and Sweldens 1998; ISO/IEC 15444-1, annex F).

    planes ─▶ lines: low, high ─▶ samples of both: low-low │ high along samples │ high along lines │ high along both
                                                      └─▶ the next level

Beyond its edges a plane goes on as its mirror image; an axis of one element is left as it is.

At the end every coefficient is multiplied by the norm of its synthesis function, so that an error of any coefficient
costs the same. The norm is about 1 inside. It differs at the ends, most where an even number of lines ends in a
high-pass coefficient. Where rows of tiles meet, lines count more than once in the norm, since one side alone codes
them.

Every step is an addition, a product or a quotient of float32 numbers, each rounded on its own. So all processors agree,
and so does the same wavelet in C (kernels/wavelet.c).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive.planes import LEVELS, ORIENTATIONS, Planes

SCALE = 1.149604398860241
"""√2 / 1.2301…, where the latter is K of ISO/IEC 15444-1: a constant grows by √2 along each axis."""
_HIGH_SCALED, _LOW_SCALED = SCALE**-2, SCALE**2
STEPS = (
    (1, -1.586134342059924 * _HIGH_SCALED),
    (0, -0.052980118572961 * _LOW_SCALED),
    (1, 0.882911075530934 * _HIGH_SCALED),
    (0, 0.443506852043971 * _LOW_SCALED),
)
"""Half that a lifting step changes (0 low, 1 high), and its factor of the neighbours in the other half. The halves are
scaled first; the factors here compensate."""
_CELL = 1 << LEVELS
"""Elements of an axis for each coefficient of the coarsest level. A tile has whole cells, and so has a row of tiles
that another row follows."""
_FIRST_COUNT = (1.5, 1.375, 1.25, 1.125)
_LAST_COUNT = (1.5, 2.0, 2.5, 3.0)
"""Weights of the first and the last lines of a row of tiles; docs/results/borders.md has the measurements."""
_LEAST_LINES = 256
"""Shorter rows count their last lines once: among 64 lines, four finer ones would cost the others 0.05 dB."""
_REACHED = 8 * _CELL
"""Length of an axis whose middle neither end reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """Coefficients of a strip.

    Attributes:
        approximation: (component, line, sample) float32, low along both axes at every level.
        details: (component, orientation, line, sample) float32 of every level, the finest first. All orientations
            have the size of the level's low-pass band, ⌈n / 2^(level + 1)⌉, and zeros where `present` says that
            there is no coefficient.
    """

    approximation: Planes
    details: tuple[Planes, ...]

    def leading(self, components: int) -> Pyramid:
        """Return the first components."""
        details = tuple(planes[:components] for planes in self.details)
        return Pyramid(approximation=self.approximation[:components], details=details)


def tile_bands(strip: Pyramid, tile: Pyramid, left: int) -> Iterator[tuple[Planes, Planes]]:
    """Yield each band of a strip, cut to the samples of a tile that begins at sample `left`, and the tile's band."""
    bands = ((strip.approximation, tile.approximation), *zip(strip.details, tile.details, strict=True))
    for halvings, (of_strip, of_tile) in zip((LEVELS, *range(1, LEVELS + 1)), bands, strict=True):
        first = left >> halvings
        yield of_strip[..., first : first + of_tile.shape[-1]], of_tile


def low_size(size: int, level: int) -> int:
    """Return how many low-pass coefficients an axis has in a level, and so how many elements in the next level."""
    return -(-size >> (level + 1))


def present(lines: int, samples: int, level: int) -> NDArray[np.bool_]:
    """Return which coefficients of a level exist for planes of this size, (orientation, line, sample)."""
    exist = np.zeros((ORIENTATIONS, low_size(lines, level), low_size(samples, level)), np.bool_)
    for orientation, area in enumerate(_areas(low_size(lines, level - 1), low_size(samples, level - 1))):
        exist[orientation][area] = True
    return exist


def analyse(planes: Planes) -> Pyramid:
    """Return the coefficients of planes (component, line, sample) float32, of any size from 1 × 1 up."""
    pyramid = empty_pyramid(*planes.shape)
    weights = coefficient_weights(*planes.shape[1:])
    # A component at a time stays in the processor's cache.
    for component, plane in enumerate(planes):
        low = plane
        for level, of_level in zip(pyramid.details, weights.details, strict=True):
            low = _analyse_level(low, level[component])
            level[component] *= of_level[0]
        np.multiply(low, weights.approximation[0], out=pyramid.approximation[component])
    return pyramid


def empty_pyramid(components: int, lines: int, samples: int) -> Pyramid:
    """Return a pyramid of zeros for planes of this size."""
    sizes = [(low_size(lines, level), low_size(samples, level)) for level in range(LEVELS)]
    shapes = [(components, *sizes[-1]), *((components, ORIENTATIONS, *size) for size in sizes)]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    # One piece of memory, which goes back to the system as one.
    pieces = np.split(np.zeros(ends[-1], np.float32), ends[:-1])
    approximation, *details = (piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True))
    return Pyramid(approximation=approximation, details=tuple(details))


def synthesise(pyramid: Pyramid, shape: tuple[int, int]) -> Planes:
    """Inverse of `analyse`.

    Args:
        pyramid: coefficients.
        shape: lines and samples of the planes.
    """
    check_size(pyramid, shape)
    lines, samples = shape
    sizes = [(low_size(lines, level), low_size(samples, level)) for level in range(-1, LEVELS)]
    weights = coefficient_weights(*shape)
    planes = np.empty((len(pyramid.approximation), *shape), np.float32)
    for component, plane in enumerate(planes):
        low = pyramid.approximation[component] / weights.approximation[0]
        for level in reversed(range(LEVELS)):
            details = pyramid.details[level][component] / weights.details[level][0]
            low = _synthesise_level(low, details, sizes[level])
        plane[...] = low
    return planes


def check_size(pyramid: Pyramid, shape: tuple[int, int]) -> None:
    """Refuse a pyramid of planes of another shape.

    Raises:
        ValueError: the pyramid is one.
    """
    lines, samples = shape
    sizes = [(low_size(lines, level), low_size(samples, level)) for level in range(LEVELS)]
    if [level.shape[2:] for level in pyramid.details] + [pyramid.approximation.shape[1:]] != sizes + sizes[-1:]:
        raise ValueError(f"the pyramid is not of planes of {lines} lines and {samples} samples")


@lru_cache(maxsize=8)
def coefficient_weights(lines: int, samples: int) -> Pyramid:
    """Return the synthesis norm of every coefficient of one component; 1 in the padding."""
    along_lines, along_samples = _axis_weights(lines, rows_meet=True), _axis_weights(samples, rows_meet=False)
    details = tuple(np.ones_like(level) for level in empty_pyramid(1, lines, samples).details)
    for level, planes in enumerate(details):
        (low, high), (low_sample, high_sample) = along_lines[level], along_samples[level]
        pairs = (low, high_sample), (high, low_sample), (high, high_sample)
        areas = _areas(low_size(lines, level - 1), low_size(samples, level - 1))
        for plane, area, pair in zip(planes[0], areas, pairs, strict=True):
            plane[area] = np.outer(*pair)
    return Pyramid(approximation=np.outer(along_lines[-1][0], along_samples[-1][0])[None], details=details)


@lru_cache(maxsize=16)
def _axis_weights(size: int, *, rows_meet: bool) -> list[list[Planes]]:
    """Return norms of the synthesis functions along an axis: low and high of each level, (coefficient,) float32."""
    short = min(size, _REACHED + size % _CELL)
    counts = np.ones(short)
    if rows_meet and short >= _CELL:
        counts[: len(_FIRST_COUNT)] = _FIRST_COUNT
    if rows_meet and short >= _LEAST_LINES and short % _CELL == 0:
        counts[-len(_LAST_COUNT) :] = _LAST_COUNT
    sizes = [low_size(short, level) for level in range(-1, LEVELS)]
    weights = []
    for level in range(LEVELS):
        added, high = np.split(np.eye(sizes[level], dtype=np.float32), [sizes[level + 1]])
        for finer in reversed(sizes[: level + 1]):
            low, added = added, np.empty((finer, sizes[level]), np.float32)
            _synthesise_axis(low, high[: finer // 2], added)
            high = np.zeros((short, sizes[level]), np.float32)
        # Products are exact, and sums are rounded once, so all processors agree on the norms too.
        norms = np.array([math.sqrt(math.fsum(column)) for column in np.square(added, dtype=float).T * counts])
        halves = np.split(norms.astype(np.float32), [sizes[level + 1]])
        longer = low_size(size, level), low_size(size, level - 1) // 2
        weights.append([_lengthened(half, length) for half, length in zip(halves, longer, strict=True)])
    return weights


def _lengthened(weights: Planes, length: int) -> Planes:
    """Return the weights of an axis that is longer in the middle."""
    times = np.ones(len(weights), int)
    times[len(weights) // 2 :][:1] += length - len(weights)
    return np.repeat(weights, times)


def _areas(lines: int, samples: int) -> Iterator[tuple[slice, slice]]:
    """Yield the part of each padded orientation that has coefficients, for a plane of this size."""
    low = slice(-(-lines // 2)), slice(-(-samples // 2))
    high = slice(lines // 2), slice(samples // 2)
    yield low[0], high[1]
    yield high[0], low[1]
    yield high[0], high[1]


def _analyse_level(plane: Planes, details: Planes) -> Planes:
    """Return the low-pass quarter of a plane; the rest goes to `details`, (orientation, line, sample)."""
    lines, samples = plane.shape
    along_samples, along_lines, both = (details[index][area] for index, area in enumerate(_areas(lines, samples)))
    low = np.empty((-(-lines // 2), samples), np.float32)
    high = np.empty((lines // 2, samples), np.float32)
    _analyse_axis(plane, low, high)
    lowest = np.empty(details.shape[1:], np.float32)
    _analyse_axis(low.T, lowest.T, along_samples.T)
    _analyse_axis(high.T, along_lines.T, both.T)
    return lowest


def _synthesise_level(lowest: Planes, details: Planes, shape: tuple[int, int]) -> Planes:
    """Inverse of `_analyse_level`, to a plane of `shape`."""
    lines, samples = shape
    along_samples, along_lines, both = (details[index][area] for index, area in enumerate(_areas(lines, samples)))
    low = np.empty((-(-lines // 2), samples), np.float32)
    high = np.empty((lines // 2, samples), np.float32)
    plane = np.empty(shape, np.float32)
    _synthesise_axis(lowest.copy().T, along_samples.copy().T, low.T)
    _synthesise_axis(along_lines.copy().T, both.copy().T, high.T)
    _synthesise_axis(low, high, plane)
    return plane


def _analyse_axis(plane: Planes, low: Planes, high: Planes) -> None:
    """Split the first axis into two halves, which are written to."""
    if len(plane) == 1:
        low[...] = plane
        return
    np.multiply(plane[0::2], SCALE, out=low)
    np.multiply(plane[1::2], 1 / SCALE, out=high)
    for half, factor in STEPS:
        _lift(low, high, half, factor)


def _synthesise_axis(low: Planes, high: Planes, plane: Planes) -> None:
    """Inverse of `_analyse_axis`; `low` and `high` are used up."""
    if len(plane) == 1:
        plane[...] = low
        return
    for half, factor in reversed(STEPS):
        _lift(low, high, half, -factor)
    np.multiply(low, 1 / SCALE, out=plane[0::2])
    np.multiply(high, SCALE, out=plane[1::2])


def _lift(low: Planes, high: Planes, half: int, factor: float) -> None:
    """Add `factor` times its two neighbours to every element of a half; at an end both are the same element."""
    target, source = (high, low) if half else (low, high)
    pairs = source[:-1] + source[1:]
    pairs *= factor
    first = 1 - half  # a low element's left neighbour is the high one of the index before
    end = first + len(pairs)
    target[first:end] += pairs
    if first:
        target[0] += 2 * factor * source[0]
    if end < len(target):
        target[-1] += 2 * factor * source[-1]
