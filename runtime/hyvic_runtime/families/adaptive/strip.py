"""Transform of a strip on board: spectral basis, wavelet, and the choice of components that are worth their octets.

lines ─▶ SpectralStatistics ─▶ SpectralBasis ──quantise, at step Δ──▶ StripBasis ─▶ project ─▶ wavelet ─▶ tiles
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive.contexts import Scale
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.adaptive.planes import Planes
from hyvic_runtime.families.adaptive.quantiser import LAGRANGIAN
from hyvic_runtime.families.adaptive.strip_basis import Each, SpectralBasis, SpectralStatistics, StripBasis
from hyvic_runtime.families.adaptive.wavelet import Pyramid, empty_pyramid, tile_bands
from hyvic_runtime.scene.scene import Cube

STATISTICS_PIXELS = 1 << 15
"""Number of pixels that statistics are made of. From a larger strip, evenly spread runs of samples are taken: with K
components, n pixels add about K / n to the squared error."""
_RUN = 8
"""Number of samples in a run; neighbours are needed, because they tell what is fine."""
LEAST_DEVIATION = 0.1
"""Least standard deviation of a component in quantiser steps; below it, coefficients exceed ½ by chance only."""
_ANALYSED_AT_ONCE = 8
"""Number of components in one call of the wavelet."""


def quantiser_step(code: int) -> float:
    """Return Δ of a quality code, in digital numbers; a thousand codes halve it."""
    return float(2.0 ** (10 - code / 1000))


def basis_of_strip(cube: NDArray[Any], valid: NDArray[np.bool_] | None, *, each: Each = map) -> SpectralBasis:
    """Return the principal components of a strip's pixels.

    Args:
        cube: (line, sample, band).
        valid: (line, sample), True where there are data; None: everywhere.
        each: maps a function over blocks of lines; see `Each`.
    """
    statistics = SpectralStatistics(cube.shape[2])
    pixels = cube.shape[0] * cube.shape[1]
    # If few pixels hold data, none may be left out.
    every = max(1, (pixels if valid is None else np.count_nonzero(valid)) // STATISTICS_PIXELS)
    if every == 1:
        statistics.add(cube, valid, each=each)
    else:
        taken = np.arange(cube.shape[1]) // _RUN % every == 0
        statistics.add(cube[:, taken], None if valid is None else valid[:, taken], run=_RUN, each=each)
    return replace(statistics.basis(), pixels=pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformedStrip:
    """A strip at one quality.

    Attributes:
        basis: spectral basis as it is sent.
        scale: scale of its components.
        tiles: coefficients of each tile in quantiser steps, left to right.
    """

    basis: StripBasis
    scale: Scale
    tiles: list[Pyramid]


def transform_strip(
    cube: Cube, basis: SpectralBasis, code: int, tile: int, *, kernels: Kernels, each: Each = map
) -> TransformedStrip:
    """Transform a strip into as many components as pay at a quality.

    Args:
        cube: (line, sample, band).
        basis: principal components of its pixels.
        code: quality code.
        tile: number of samples of a tile, a multiple of 2**LEVELS.
        kernels: inner loops.
        each: maps a function over portions; see `Each`.
    """
    step = quantiser_step(code)
    candidates = int(np.count_nonzero(basis.deviations > LEAST_DEVIATION * step))
    strip = basis.quantised(candidates, step)
    lines, samples, _ = cube.shape
    tiles = [empty_pyramid(candidates, lines, min(tile, samples - left)) for left in range(0, samples, tile)]
    gains = -LAGRANGIAN * strip.bits()

    def analyse_some(first: int, planes: Planes, start: int) -> None:
        some = planes[start : start + _ANALYSED_AT_ONCE]
        some /= np.float32(step)
        pyramid = kernels.analyse(some)
        components = slice(first + start, first + start + len(some))
        gains[components] += _rd_gains(pyramid, kernels)
        for column, of_tile in enumerate(tiles):
            for of_strip, band in tile_bands(pyramid, of_tile, column * tile):
                band[components] = of_strip

    # Each component is held as a plane or as coefficients; few are held as both.
    projected, first = strip.project(cube, each=each), 0
    while projected:
        planes = projected.pop(0)
        for _ in each(partial(analyse_some, first, planes), range(0, len(planes), _ANALYSED_AT_ONCE)):
            pass
        first += len(planes)
    # This many components reduce the squared error most, after what they and their vectors cost.
    kept_count = int(np.cumsum([0, *gains]).argmax())
    kept = strip.leading(kept_count)
    return TransformedStrip(
        basis=kept, scale=kept.scale(code), tiles=[of_tile.leading(kept_count) for of_tile in tiles]
    )


def _rd_gains(pyramid: Pyramid, kernels: Kernels) -> NDArray[np.float64]:
    """Return by how much components reduce the squared error, less what their coefficients cost, (component,)."""
    saved, bits = kernels.estimated_rd(pyramid.approximation)
    gains = saved - LAGRANGIAN * bits
    for planes in pyramid.details:
        saved, bits = kernels.estimated_rd(planes)
        # A component that does not pay in a level is not coded there.
        gains += np.maximum(saved - LAGRANGIAN * bits, 0)
    return gains
