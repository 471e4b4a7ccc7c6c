"""The 9/7 wavelet of a strip's components, by lifting (Daubechies and Sweldens 1998; ISO/IEC 15444-1, annex F).

    planes ─▶ lines: low, high ─▶ samples of both: low-low │ high along samples │ high along lines │ high along both
                                                      └─▶ the next level

It is scaled as an orthonormal transform would be, so that an error of a coefficient costs about as much in every
subband. Beyond its edges a plane goes on as its mirror image; an axis of one element is left as it is.

Every step is an addition or a product of float32 numbers, each rounded on its own, so all processors agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.adaptive.contexts import LEVELS, ORIENTATIONS

Planes = NDArray[np.float32]

_SCALE = 1.149604398860241
"""√2 / 1.2301…, the factor that ISO/IEC 15444-1 calls K: what is constant grows by √2 along each axis."""
_HIGH_SCALED, _LOW_SCALED = _SCALE**-2, _SCALE**2
_STEPS = (
    (1, -1.586134342059924 * _HIGH_SCALED),
    (0, -0.052980118572961 * _LOW_SCALED),
    (1, 0.882911075530934 * _HIGH_SCALED),
    (0, 0.443506852043971 * _LOW_SCALED),
)
"""Which half a lifting step changes (0 low, 1 high) and by how much of its neighbours in the other half. The halves
are scaled first, which the factors here make up for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """Coefficients of a strip.

    Attributes:
        approximation: (component, line, sample) float32, low along both axes at every level.
        details: of every level, the finest first: (component, orientation, line, sample) float32. All orientations
            have the size of the level's low-pass band, ⌈n / 2^(level + 1)⌉; see `present` for what they lack of it,
            which is zero.
    """

    approximation: Planes
    details: tuple[Planes, ...]


def low_size(size: int, level: int) -> int:
    """Of an axis: how many low-pass coefficients a level has, and so how many elements the next one."""
    return -(-size >> (level + 1))


def present(lines: int, samples: int, level: int) -> NDArray[np.bool_]:
    """Which coefficients of a level exist for planes of this size, (orientation, line, sample)."""
    exist = np.zeros((ORIENTATIONS, low_size(lines, level), low_size(samples, level)), np.bool_)
    for orientation, area in enumerate(_areas(low_size(lines, level - 1), low_size(samples, level - 1))):
        exist[orientation][area] = True
    return exist


def analyse(planes: Planes) -> Pyramid:
    """Coefficients of planes, (component, line, sample) float32, of any size from 1 × 1 up."""
    pyramid = empty_pyramid(*planes.shape)
    # A component at a time stays in the processor's cache.
    for component, plane in enumerate(planes):
        low = plane
        for level in pyramid.details:
            low = _analyse_level(low, level[component])
        pyramid.approximation[component] = low
    return pyramid


def empty_pyramid(components: int, lines: int, samples: int) -> Pyramid:
    """All coefficients zero, of planes of this size."""
    sizes = [(low_size(lines, level), low_size(samples, level)) for level in range(LEVELS)]
    return Pyramid(
        approximation=np.zeros((components, *sizes[-1]), np.float32),
        details=tuple(np.zeros((components, ORIENTATIONS, *size), np.float32) for size in sizes),
    )


def synthesise(pyramid: Pyramid, shape: tuple[int, int]) -> Planes:
    """Inverse of `analyse`.

    Args:
        pyramid: what it gave.
        shape: lines and samples of the planes.
    """
    lines, samples = shape
    sizes = [(low_size(lines, level), low_size(samples, level)) for level in range(-1, LEVELS)]
    if [level.shape[2:] for level in pyramid.details] + [pyramid.approximation.shape[1:]] != sizes[1:] + sizes[-1:]:
        raise ValueError(f"the pyramid is none of planes of {lines} lines and {samples} samples")
    planes = np.empty((len(pyramid.approximation), *shape), np.float32)
    for component, plane in enumerate(planes):
        low = pyramid.approximation[component]
        for level in reversed(range(LEVELS)):
            low = _synthesise_level(low, pyramid.details[level][component], sizes[level])
        plane[...] = low
    return planes


def _areas(lines: int, samples: int) -> Iterator[tuple[slice, slice]]:
    """Of a level's padded orientations: what there is of each, for a plane of this size."""
    low = slice(-(-lines // 2)), slice(-(-samples // 2))
    high = slice(lines // 2), slice(samples // 2)
    yield low[0], high[1]
    yield high[0], low[1]
    yield high[0], high[1]


def _analyse_level(plane: Planes, details: Planes) -> Planes:
    """Low-pass half of a plane; the rest goes to `details`, (orientation, line, sample)."""
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
    np.multiply(plane[0::2], _SCALE, out=low)
    np.multiply(plane[1::2], 1 / _SCALE, out=high)
    for half, factor in _STEPS:
        _lift(low, high, half, factor)


def _synthesise_axis(low: Planes, high: Planes, plane: Planes) -> None:
    """Inverse of `_analyse_axis`; `low` and `high` are used up."""
    if len(plane) == 1:
        plane[...] = low
        return
    for half, factor in reversed(_STEPS):
        _lift(low, high, half, -factor)
    np.multiply(low, 1 / _SCALE, out=plane[0::2])
    np.multiply(high, _SCALE, out=plane[1::2])


def _lift(low: Planes, high: Planes, half: int, factor: float) -> None:
    """Add `factor` times its two neighbours to every element of a half; beyond an end both are the same one."""
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
