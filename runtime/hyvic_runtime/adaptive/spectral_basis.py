"""The spectral transform of a strip: made for its own pixels, quantised, and sent with them.

    pixels ─▶ SpectralStatistics: mean, covariance ─▶ SpectralBasis: eigenvectors ─▶ StripBasis: integers, as sent

Vectors are sent as coarsely as the coefficients deserve, so they are neither of unit length nor orthogonal. That is no
matter: pixels are projected by least squares on what was sent, not on what was meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.adaptive.contexts import CONTEXT_MAX, MAX_COMPONENTS, Scale
from hyvic_runtime.entropy_coder import SYMBOL_MAX, SYMBOL_MIN
from hyvic_runtime.errors import EngineError
from hyvic_runtime.scene import Cube

Planes = NDArray[np.float32]

STEP_RATIO = 1.5
"""κ: a vector's quantiser step is κ Δ / (√N σ) for steps Δ of N coefficients of deviation σ. A vector's error is
scaled by σ and shared by N pixels, so this spends octets on vectors and on coefficients to the same effect."""
COARSEST_EXPONENT, FINEST_EXPONENT = -32, 127
SPREADS = 256
"""A component's spread is one octet: quarters of an octave, of deviations from one digital number on."""
_BLOCK_PIXELS = 2048
"""Worked on at a time: with the bands of a sensor they stay in the processor's cache."""
_SINGULAR = 1e-10
"""Directions that the quantised vectors hold less of than this are none of theirs."""


class SpectralStatistics:
    """Mean and covariance of pixels that come a few lines at a time.

    In float64: beside clouds of 65,000 numbers the rounding of float32 is more than all that noise varies by, whose
    components would seem to have no variance. Spectra are taken relative to the mean of the first block, so that what
    is summed are deviations and not their differences to large means.
    """

    def __init__(self, bands: int) -> None:
        """Begin with no pixels."""
        self._reference: NDArray[np.float64] | None = None
        self._sum = np.zeros(bands)
        self._products = np.zeros((bands, bands))
        self._pixels = 0

    def add(self, cube: Cube, counted: NDArray[np.bool_] | None = None) -> None:
        """Take the pixels of some lines.

        Args:
            cube: (line, sample, band) digital numbers.
            counted: (line, sample), which pixels hold measurements; all where None.
        """
        for lines in _blocks(*cube.shape[:2]):
            spectra = cube[lines].reshape(-1, cube.shape[2])
            if counted is not None:
                spectra = spectra[counted[lines].ravel()]
            if not len(spectra):
                continue
            if self._reference is None:
                self._reference = spectra.mean(axis=0)
            deviations = np.subtract(spectra, self._reference)
            self._sum += deviations.sum(axis=0)
            self._products += deviations.T @ deviations
            self._pixels += len(spectra)

    def basis(self) -> SpectralBasis:
        """Principal components, as many as there are bands or MAX_COMPONENTS.

        Raises:
            EngineError: the matrix library gave what no sums of digital numbers are.
        """
        pixels = max(self._pixels, 1)
        offset = self._sum / pixels
        covariance = self._products / pixels - np.outer(offset, offset)
        # Seen on one of them, of a product of a matrix with itself in single precision: half a picture, and no word.
        if not np.isfinite(covariance).all():
            raise EngineError("NumPy's matrix library gave a covariance that is not finite; use another build of NumPy")
        variances, vectors = np.linalg.eigh(covariance)
        falling = slice(None, -MAX_COMPONENTS - 1, -1)
        return SpectralBasis(
            pixels=self._pixels,
            mean=offset if self._reference is None else self._reference + offset,
            vectors=vectors.T[falling],
            deviations=np.sqrt(np.maximum(variances[falling], 0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralBasis:
    """Mean and principal components of pixels, before they are quantised.

    Attributes:
        pixels: how many there were.
        mean: (band,) float64 digital numbers.
        vectors: (component, band) float64, orthonormal, by falling variance.
        deviations: (component,) float64, standard deviations of the coefficients in digital numbers.
    """

    pixels: int
    mean: NDArray[np.float64]
    vectors: NDArray[np.float64]
    deviations: NDArray[np.float64]

    def quantised(self, components: int, step: float) -> StripBasis:
        """What is sent of the mean and the leading components.

        Args:
            components: how many.
            step: Δ, the quantiser step of their coefficients in digital numbers.
        """
        vectors, deviations = self.vectors[:components], np.maximum(self.deviations[:components], 2.0**-32)
        per_deviation = STEP_RATIO * step / np.sqrt(max(self.pixels, 1))
        largest = np.abs(vectors).max(axis=1, initial=0)
        # Never so coarse that nothing is left of a vector, nor so fine that symbols end before it does.
        exponents = np.clip(
            np.rint(2 * np.log2(deviations / per_deviation)),
            np.ceil(-2 * np.log2(largest / 2)),
            np.floor(2 * np.log2(SYMBOL_MAX / largest)),
        ).astype(np.int8)
        extent = float(self.mean.max() - self.mean.min())
        finest = np.floor(2 * np.log2((SYMBOL_MAX - SYMBOL_MIN - 1) / max(extent, 1)))
        mean_exponent = int(np.clip(np.rint(-2 * np.log2(per_deviation)), COARSEST_EXPONENT, finest))
        return StripBasis(
            mean_exponent=mean_exponent,
            mean=np.rint(self.mean / _step([mean_exponent])[0]).astype(np.int32),
            exponents=exponents,
            vectors=np.rint(vectors / _step(exponents)).astype(np.int32),
            spread=np.clip(np.rint(4 * np.log2(deviations)), 0, SPREADS - 1).astype(np.uint8),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StripBasis:
    """A strip's spectral transform as both ends know it.

    Attributes:
        mean_exponent: e, the mean's step being 2**(-e / 2) digital numbers.
        mean: (band,) int32, in its steps; from the least to the greatest less than 2**16.
        exponents: (component,) int8, e of every vector.
        vectors: (component, band) int32 within 16 bits, in their steps.
        spread: (component,) uint8, round(4 log2 σ) for coefficients of standard deviation σ digital numbers.
    """

    mean_exponent: int
    mean: NDArray[np.int32]
    exponents: NDArray[np.int8]
    vectors: NDArray[np.int32]
    spread: NDArray[np.uint8]

    def __post_init__(self) -> None:
        bands = len(self.mean)
        if len(self) > min(bands, MAX_COMPONENTS):
            raise ValueError(f"{len(self)} components of {bands} bands; {min(bands, MAX_COMPONENTS)} are the most")
        if self.vectors.shape != (len(self), bands) or self.exponents.shape != self.spread.shape != (len(self),):
            raise ValueError(f"vectors of shape {self.vectors.shape} for {len(self)} components of {bands} bands")
        for exponent in (self.mean_exponent, *self.exponents.tolist()):
            if not COARSEST_EXPONENT <= exponent <= FINEST_EXPONENT:
                raise ValueError(
                    f"a step of 2**({-exponent} / 2) is none; the coarsest is 2**{-COARSEST_EXPONENT // 2}"
                )
        extent = int(self.mean.max()) - int(self.mean.min())
        if extent > SYMBOL_MAX - SYMBOL_MIN:
            raise ValueError(f"a mean spectrum that extends over {extent} steps does not fit 16 bits")
        if not SYMBOL_MIN <= self.vectors.min(initial=0) <= self.vectors.max(initial=0) <= SYMBOL_MAX:
            raise ValueError("a spectral vector does not fit 16 bits")

    def __len__(self) -> int:
        """How many components."""
        return len(self.spread)

    def leading(self, components: int) -> StripBasis:
        """The same without the components from this one on."""
        first = slice(components)
        return replace(self, exponents=self.exponents[first], vectors=self.vectors[first], spread=self.spread[first])

    def scale(self, code: int) -> Scale:
        """What contexts know of the components, for tiles of a quality; in integers."""
        log2_step = (160_000 - 16 * code + 500) // 1000  # in sixteenths, of 2**(10 - code / 1000)
        log2_spread = 4 * self.spread.astype(np.int32) - log2_step
        return Scale(log2_spread=np.clip(log2_spread, -CONTEXT_MAX, CONTEXT_MAX).astype(np.float32))

    def project(self, cube: Cube) -> Planes:
        """Coefficients in digital numbers, (component, line, sample), of a cube (line, sample, band).

        Their combination of the quantised vectors is the one nearest to the pixels.
        """
        vectors = self._vectors()
        # By way of the products of vectors, since those are almost orthogonal: few, and well conditioned.
        inverse = np.linalg.pinv(vectors @ vectors.T, _SINGULAR, hermitian=True) @ vectors
        onto, mean = inverse.astype(np.float32), self._mean()
        lines, samples, bands = cube.shape
        planes = np.empty((len(self), lines * samples), np.float32)
        for block in _blocks(lines, samples):
            spectra = np.subtract(cube[block].reshape(-1, bands), mean, dtype=np.float32)
            np.matmul(onto, spectra.T, out=planes[:, block.start * samples : block.stop * samples])
        return planes.reshape(len(self), lines, samples)

    def reconstruct(self, planes: Planes, dtype: np.dtype[Any]) -> Cube:
        """The cube (line, sample, band) of coefficients (component, line, sample), rounded to the type's numbers."""
        vectors, mean = self._vectors().astype(np.float32), self._mean()
        limits = np.iinfo(dtype)
        _, lines, samples = planes.shape
        cube = np.empty((lines, samples, len(mean)), dtype)
        for block in _blocks(lines, samples):
            spectra = planes[:, block].reshape(len(self), (block.stop - block.start) * samples).T @ vectors
            spectra += mean
            np.rint(spectra, out=spectra)
            np.clip(spectra, limits.min, limits.max, out=spectra)
            cube[block] = spectra.reshape(-1, samples, len(mean))
        return cube

    def _mean(self) -> Planes:
        mean: Planes = (self.mean * _step([self.mean_exponent])[0]).astype(np.float32)
        return mean

    def _vectors(self) -> NDArray[np.float64]:
        vectors: NDArray[np.float64] = self.vectors * _step(self.exponents)
        return vectors


def _blocks(lines: int, samples: int) -> Iterator[slice]:
    """Lines in portions of about _BLOCK_PIXELS pixels."""
    portion = max(_BLOCK_PIXELS // samples, 1)
    return (slice(start, min(start + portion, lines)) for start in range(0, lines, portion))


def _step(exponents: Sequence[int] | NDArray[np.int8]) -> NDArray[np.float64]:
    """Quantiser steps of spectra, (spectrum, 1)."""
    steps: NDArray[np.float64] = np.exp2(np.asarray(exponents, np.float64) / -2)
    return steps[:, None]
