"""The spectral transform of a strip: computed from its own pixels, quantised, and sent with them.

    pixels ─▶ SpectralStatistics: mean, covariances ─▶ SpectralBasis: eigenvectors ─▶ StripBasis: integers, as sent

A vector is orthogonal to the vectors before it, so k - 1 elements of the k-th need not be sent. Householder
reflections, made of the vectors before as they were sent, turn each of these into one axis, where later vectors are
zero. Reflections do not stretch, so a vector may be rounded as coarsely as its coefficients allow. Whatever integers
are sent, they stand for an orthonormal basis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.unit_coder import SYMBOL_MAX, SYMBOL_MIN
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, Scale
from hyvic_runtime.families.adaptive.planes import MAX_COMPONENTS, Integers, Planes
from hyvic_runtime.scene.scene import Cube

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Applies a function to arguments and returns the results in order: `map`, or a thread pool's."""

STEP_RATIO = 0.85
"""κ: a vector's quantiser step is κ Δ / √(N w σ²) for steps Δ of N coefficients of deviation σ. A vector's error is
scaled by σ and shared by N pixels, so an octet has the same effect in vectors and in coefficients."""
QUANTISER_VARIANCE = 1 / 12
"""Variance below which coefficients are lost, in squared quantiser steps."""
LEAST_WEIGHT = 1e-3
"""Least weight of a vector's error: a vector whose coefficients vary as much as all later ones may be any."""
PIXEL_SHARE = 0.2
"""Share of the pixels' covariance beside the details'. Most coefficients are of the finest wavelet levels, which slow
changes do not touch, however large they are."""
_DETAIL_GAIN = 1 + 2 * 0.5**2
"""Factor by which details amplify noise that differs from pixel to pixel."""
MEAN_STEP_RATIO = 1.5
"""κ of the mean, whose step is κ Δ / √N."""
COARSEST_EXPONENT, FINEST_EXPONENT = -32, 127
SPREADS = 256
"""Number of spreads, one octet: quarters of an octave, for deviations from one digital number on."""
_PROJECTED_TOGETHER = 40
"""Components whose planes are one array: for rows of 1,000 samples, large enough to go back to the system."""
_BLOCK_PIXELS = 2048
"""Pixels that are worked on at a time: with all bands of a sensor they stay in the processor's cache."""


class SpectralStatistics:
    """Mean and covariance of pixels that come a few lines at a time, and covariance of their details.

    A pixel's detail is its difference from the mean of its neighbours one line up and one sample left.

    Sums are in float64: beside clouds of 65,000 digital numbers the rounding of float32 exceeds the noise, and
    components of noise would seem to have no variance. Spectra are taken relative to the mean of the first block, so
    that sums are of deviations, and not of differences to large means.
    """

    def __init__(self, bands: int) -> None:
        """Begin with no pixels."""
        self._reference: NDArray[np.float64] | None = None
        self._sum = np.zeros(bands)
        self._products, self._detail_products = np.zeros((bands, bands)), np.zeros((bands, bands))
        self._pixels = self._details = 0

    def add(
        self,
        cube: NDArray[Any],
        counted: NDArray[np.bool_] | None = None,
        *,
        run: int | None = None,
        each: Each = map,
    ) -> None:
        """Take the pixels of some lines.

        Args:
            cube: (line, sample, band) digital numbers, of any type.
            counted: (line, sample), True for pixels that hold measurements; None: all do.
            run: number of samples that lie side by side in the scene; None: all do.
            each: see `Each`.
        """
        counted = np.ones(cube.shape[:2], np.bool_) if counted is None else counted
        blocks = [lines for lines in _blocks(*cube.shape[:2]) if counted[lines].any()]
        if not blocks:
            return
        if self._reference is None:
            self._reference = np.asarray(cube[blocks[0]][counted[blocks[0]]].mean(axis=0), np.float64)
        reference: NDArray[np.float64] = self._reference

        def sums(lines: slice) -> tuple[int, NDArray[np.float64], NDArray[np.float64], int, NDArray[np.float64]]:
            block: NDArray[np.float64] = np.subtract(cube[lines], reference)
            held = counted[lines]
            deviations: NDArray[np.float64] = block[held]
            inner = held[1:, 1:] & held[:-1, 1:] & held[1:, :-1]
            if run is not None:
                inner[:, run - 1 :: run] = False
            details = (block[1:, 1:] - (block[:-1, 1:] + block[1:, :-1]) / 2)[inner]
            products: NDArray[np.float64] = deviations.T @ deviations
            detail_products: NDArray[np.float64] = details.T @ details
            return len(deviations), deviations.sum(axis=0), products, len(details), detail_products

        for pixels, total, of_pixels, details, of_details in each(sums, blocks):
            self._pixels += pixels
            self._sum += total
            self._products += of_pixels
            self._details += details
            self._detail_products += of_details

    def basis(self) -> SpectralBasis:
        """Return as many components as there are bands, or MAX_COMPONENTS.

        They are the principal components of a mixture of both covariances, by falling variance of the pixels.

        Raises:
            EngineError: the matrix library gave sums that are not finite.
        """
        pixels = max(self._pixels, 1)
        offset = self._sum / pixels
        covariance = self._products / pixels - np.outer(offset, offset)
        # Seen with one library, in a product of a matrix with itself in single precision: half a picture, and no error.
        if not (np.isfinite(covariance).all() and np.isfinite(self._detail_products).all()):
            raise EngineError("NumPy's matrix library gave a covariance that is not finite; use another build of NumPy")
        mixed = PIXEL_SHARE * covariance + self._detail_products / (_DETAIL_GAIN * max(self._details, 1))
        vectors = np.linalg.eigh(mixed)[1].T
        variances = ((vectors @ covariance) * vectors).sum(axis=1)
        falling = np.argsort(-variances, kind="stable")[:MAX_COMPONENTS]
        return SpectralBasis(
            pixels=self._pixels,
            mean=offset if self._reference is None else self._reference + offset,
            vectors=vectors[falling],
            deviations=np.sqrt(np.maximum(variances[falling], 0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralBasis:
    """Mean and components of pixels, before they are quantised.

    Attributes:
        pixels: number of pixels.
        mean: (band,) float64 digital numbers.
        vectors: (component, band) float64, orthonormal, by falling variance.
        deviations: (component,) float64, standard deviations of the coefficients in digital numbers.
    """

    pixels: int
    mean: NDArray[np.float64]
    vectors: NDArray[np.float64]
    deviations: NDArray[np.float64]

    def quantised(self, components: int, step: float) -> StripBasis:
        """Quantise the mean and the leading components.

        Args:
            components: number of components.
            step: Δ, quantiser step of their coefficients in digital numbers.
        """
        bands = len(self.mean)
        deviations = np.maximum(self.deviations[:components], 2.0**-32)
        pixels = max(self.pixels, 1)
        wanted = deviations * np.sqrt(pixels * self._weights(components, step)) / (STEP_RATIO * step)
        extent = float(self.mean.max() - self.mean.min())
        finest = np.floor(2 * np.log2((SYMBOL_MAX - SYMBOL_MIN - 1) / max(extent, 1)))
        mean_exponent = int(
            np.clip(np.rint(-2 * np.log2(MEAN_STEP_RATIO * step / pixels**0.5)), COARSEST_EXPONENT, finest)
        )
        sent = np.zeros((components, bands), np.int32)
        left, free = self.vectors[:components].copy(), np.ones(bands, np.bool_)
        for component, vector in enumerate(left):
            vector[~free] = 0
            if not vector.any():
                vector[free.argmax()] = 1
            # Never so coarse that a vector becomes zero, nor so fine that it outgrows the symbols.
            steps = np.clip(wanted[component] * np.abs(vector).max(), 2, SYMBOL_MAX)
            sent[component] = np.rint(vector * (steps / np.abs(vector).max()))
            free[pivot(sent[component])] = False
            _reflect(left[component + 1 :], _mirror(_unit(sent[component])))
        return StripBasis(
            mean_exponent=mean_exponent,
            mean=np.rint(self.mean / _step(mean_exponent)).astype(np.int32),
            vectors=sent,
            spread=np.clip(np.rint(4 * np.log2(deviations)), 0, SPREADS - 1).astype(np.uint8),
        )

    def _weights(self, components: int, step: float) -> NDArray[np.float64]:
        """Return w, the weight of each vector's error, (component,), averaged over the error's directions.

        Towards another component that is sent, an error of angle δ loses nothing but mixes both. With variances v and
        u, both including quantisation noise t, the lost bits are worth a squared error of t δ² (v - u)² / (v u).
        Towards a direction that is not sent, v δ² is added to the squared error, which is the same for u = t.
        """
        bands = len(self.mean)
        lost = step**2 * QUANTISER_VARIANCE
        variances = np.full(bands, lost)
        variances[:components] += self.deviations[:components] ** 2
        shares = np.triu((lost / variances) * (1 - variances / variances[:components, None]) ** 2, 1)
        later = bands - 1 - np.arange(components)
        return np.asarray(np.maximum(shares.sum(axis=1) / np.maximum(later, 1), LEAST_WEIGHT))


@dataclass(frozen=True, slots=True, kw_only=True)
class StripBasis:
    """A strip's spectral transform as both ends know it.

    Attributes:
        mean_exponent: e, where the mean's step is 2**(-e / 2) digital numbers.
        mean: (band,) int32 in these steps; the greatest minus the least is less than 2**16.
        vectors: (component, band) int32 within 16 bits, of any length, after the reflections of the vectors before.
            Each is zero in the pivots of the vectors before, and not zero everywhere.
        spread: (component,) uint8, round(4 log2 σ) for coefficients of standard deviation σ digital numbers.
    """

    mean_exponent: int
    mean: NDArray[np.int32]
    vectors: NDArray[np.int32]
    spread: NDArray[np.uint8]

    def __post_init__(self) -> None:
        bands = len(self.mean)
        if len(self) > min(bands, MAX_COMPONENTS):
            raise ValueError(f"{len(self)} components of {bands} bands; {min(bands, MAX_COMPONENTS)} are the most")
        if self.vectors.shape != (len(self), bands) or self.spread.ndim != 1:
            raise ValueError(f"vectors of shape {self.vectors.shape} for {len(self)} components of {bands} bands")
        if not COARSEST_EXPONENT <= self.mean_exponent <= FINEST_EXPONENT:
            raise ValueError(
                f"a step of 2**({-self.mean_exponent} / 2) is invalid; the coarsest is 2**{-COARSEST_EXPONENT // 2}"
            )
        extent = int(self.mean.max()) - int(self.mean.min())
        if extent > SYMBOL_MAX - SYMBOL_MIN:
            raise ValueError(f"a mean spectrum that extends over {extent} steps does not fit 16 bits")
        if not SYMBOL_MIN <= self.vectors.min(initial=0) <= self.vectors.max(initial=0) <= SYMBOL_MAX:
            raise ValueError("a spectral vector does not fit 16 bits")
        pivots = np.abs(self.vectors).argmax(axis=1)
        if not self.vectors.any(axis=1).all() or np.tril(self.vectors[:, pivots], -1).any():
            raise ValueError("a spectral vector is zero, or is not in the pivot of one before it")

    def __len__(self) -> int:
        """Return the number of components."""
        return len(self.spread)

    def leading(self, components: int) -> StripBasis:
        """Return the basis of the first components."""
        first = slice(components)
        return replace(self, vectors=self.vectors[first], spread=self.spread[first])

    def bits(self) -> NDArray[np.float64]:
        """Estimate the bits of each vector, (component,), as if magnitudes were geometric.

        The bits of signs are left out: about as many are saved by tables that follow the vectors before.
        """
        elements = self.vectors.shape[1] - np.arange(len(self))
        mean = np.abs(self.vectors).sum(axis=1) / elements
        return np.asarray(elements * (np.log2(1 + mean) + mean * np.log2(1 + 1 / mean)))

    def scale(self, code: int) -> Scale:
        """Return the components' scale for tiles of a quality; in integers."""
        log2_step = (160_000 - 16 * code + 500) // 1000  # in sixteenths, of 2**(10 - code / 1000)
        log2_spread = 4 * self.spread.astype(np.int32) - log2_step
        return Scale(log2_spread=np.clip(log2_spread, -CONTEXT_MAX, CONTEXT_MAX).astype(np.float32))

    def project(self, cube: Cube, *, each: Each = map) -> list[Planes]:
        """Return the coefficients (component, line, sample) of a cube (line, sample, band), in digital numbers.

        With the vectors that are sent, they come nearest to the pixels.

        Args:
            cube: pixels.
            each: see `Each`.

        Returns:
            Arrays of _PROJECTED_TOGETHER components each, so that the caller can free them one by one.
        """
        onto, mean = self._vectors().astype(np.float32), self._mean()
        lines, samples, bands = cube.shape
        edges = range(_PROJECTED_TOGETHER, len(onto), _PROJECTED_TOGETHER)
        planes = [np.empty((len(portion), lines, samples), np.float32) for portion in np.split(onto, edges)]

        def project_block(block: slice) -> None:
            spectra = np.subtract(cube[block].reshape(-1, bands), mean, dtype=np.float32)
            projected = (onto @ spectra.T).reshape(-1, block.stop - block.start, samples)
            for of_portion, portion in zip(planes, np.split(projected, edges), strict=True):
                of_portion[:, block] = portion

        for _ in each(project_block, _blocks(lines, samples)):
            pass
        return planes

    def reconstruct(self, planes: Planes, dtype: np.dtype[Any]) -> Cube:
        """Return the cube (line, sample, band) of coefficients (component, line, sample), rounded to the type."""
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
        mean: Planes = (self.mean * _step(self.mean_exponent)).astype(np.float32)
        return mean

    def _vectors(self) -> NDArray[np.float64]:
        """Return the orthonormal basis, (component, band)."""
        vectors = np.array([_unit(vector) for vector in self.vectors]).reshape(self.vectors.shape)
        for component in range(len(self) - 2, -1, -1):
            _reflect(vectors[component + 1 :], _mirror(vectors[component]))
        return vectors


def pivot(vector: NDArray[np.number[Any]]) -> int:
    """Return the band in which later vectors are zero: the first where this vector is largest."""
    return int(np.abs(vector).argmax())


def _unit(vector: Integers) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / np.linalg.norm(vector)
    return unit


def _mirror(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit normal of the reflection that takes a unit vector to the axis of its pivot."""
    at = pivot(unit)
    normal = unit.copy()
    normal[at] += np.copysign(1, unit[at])
    return normal / np.linalg.norm(normal)


def _reflect(vectors: NDArray[np.float64], normal: NDArray[np.float64]) -> None:
    """Reflect vectors, (vector, band), in place."""
    vectors -= 2 * np.outer(vectors @ normal, normal)


def _blocks(lines: int, samples: int) -> Iterator[slice]:
    """Yield blocks of lines of about _BLOCK_PIXELS pixels."""
    height = max(_BLOCK_PIXELS // samples, 2)
    return (slice(start, min(start + height, lines)) for start in range(0, lines, height))


def _step(exponent: int) -> float:
    """Return the quantiser step of a spectrum."""
    return float(2.0 ** (-int(exponent) / 2))
