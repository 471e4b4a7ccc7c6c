"""A strip of lines on board: its spectral transform, its wavelet, and which components are worth their octets.

lines ─▶ SpectralStatistics ─▶ SpectralBasis
│ Δ: the components that may have coefficients
▼
StripBasis ─▶ project ─▶ wavelet, in steps ─▶ those that pay
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.adaptive.contexts import Scale
from hyvic_runtime.adaptive.quantiser import LAGRANGIAN, worth_coding
from hyvic_runtime.adaptive.spectral_basis import SpectralBasis, SpectralStatistics, StripBasis
from hyvic_runtime.adaptive.wavelet import Pyramid, analyse
from hyvic_runtime.scene import Cube

STATISTICS_PIXELS = 1 << 15
"""Of a larger strip evenly spread runs of samples are taken: with K components, n pixels add about K / n to the squared
error."""
_RUN = 8
"""Samples side by side, since neighbours tell what is fine."""
LEAST_DEVIATION = 0.1
"""In quantiser steps: a component of less has no coefficient beyond ½ but by chance, and is not looked at."""


def quantiser_step(code: int) -> float:
    """Δ of a quality's code in digital numbers: a thousand codes an octave."""
    return float(2.0 ** (10 - code / 1000))


def basis_of_strip(cube: NDArray[Any], valid: NDArray[np.bool_] | None) -> SpectralBasis:
    """Principal components of a strip's pixels.

    Args:
        cube: (line, sample, band).
        valid: (line, sample), where there are data; None: everywhere.
    """
    statistics = SpectralStatistics(cube.shape[2])
    pixels = cube.shape[0] * cube.shape[1]
    # Of a few that hold data none may be left out.
    every = max(1, (pixels if valid is None else np.count_nonzero(valid)) // STATISTICS_PIXELS)
    if every == 1:
        statistics.add(cube, valid)
    else:
        taken = np.arange(cube.shape[1]) // _RUN % every == 0
        statistics.add(cube[:, taken], None if valid is None else valid[:, taken], run=_RUN)
    return replace(statistics.basis(), pixels=pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformedStrip:
    """A strip at one quality.

    Attributes:
        basis: that is sent.
        pyramid: in quantiser steps.
        scale: of its components.
    """

    basis: StripBasis
    pyramid: Pyramid
    scale: Scale


def transformed(cube: Cube, basis: SpectralBasis, code: int) -> TransformedStrip:
    """Transform a strip, of as many components as pay at a quality."""
    step = quantiser_step(code)
    candidates = int(np.count_nonzero(basis.deviations > LEAST_DEVIATION * step))
    strip = basis.quantised(candidates, step)
    planes = strip.project(cube)
    planes /= np.float32(step)
    pyramid = analyse(planes)
    paying = _paying(pyramid, strip)
    kept = strip.leading(paying)
    return TransformedStrip(
        basis=kept,
        pyramid=Pyramid(
            approximation=pyramid.approximation[:paying], details=tuple(level[:paying] for level in pyramid.details)
        ),
        scale=kept.scale(code),
    )


def _paying(pyramid: Pyramid, basis: StripBasis) -> int:
    """How many of the leading components take off the most squared error beyond what they and their vectors cost."""
    saved, bits = worth_coding(pyramid.approximation)
    bits += basis.bits()
    for planes in pyramid.details:
        of_level, cost = worth_coding(planes)
        # What does not pay in a level is not coded there.
        pays = of_level > LAGRANGIAN * cost
        saved += of_level * pays
        bits += cost * pays
    return int(np.cumsum([0, *(saved - LAGRANGIAN * bits)]).argmax())
