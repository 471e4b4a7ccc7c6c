"""What floating point may do to a result, on any processor and with any library.

A library is free to add in any order, to fuse a product with a sum and to work in blocks. Whatever it does, its sum of
n products lies within γ_n Σ|a b| of the exact sum, with γ_n = n u / (1 − n u) and u half the distance from 1 to the
next number (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1). Tests take their bounds
from here, so that none is a figure that one machine happened to stay below.

For bounds of whole networks see torch_rounding.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT16, FLOAT32, FLOAT64 = 2.0**-11, 2.0**-24, 2.0**-53
"""u, the unit roundoff of each."""


def gamma(terms: float, unit: float) -> float:
    """Largest relative error of a sum of products, γ_n (Higham, 3.1).

    Args:
        terms: number of products, one more where something is added to their sum.
        unit: u of the arithmetic.
    """
    assert terms * unit < 0.5, f"{terms} roundings of {unit} leave no digit"
    return terms * unit / (1 - terms * unit)


@dataclass(frozen=True, slots=True)
class Bounded:
    """A result and how far two computations of it may be apart.

    Attributes:
        exact: (1, channel, ...) float64, the result but for the roundings of float64.
        bound: (1, channel, 1, ...) float64, largest distance between what two libraries give of a channel.
    """

    exact: NDArray[np.float64]
    bound: NDArray[np.float64]


def deviation_bound(
    spectra: NDArray[np.float64], vectors: NDArray[np.float64], deviations: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far apart two computations of the standard deviation along vectors may be in float64.

    A variance vᵀ C v is a sum of as many products as there are pixels, and one over all pairs of bands after it. Of
    standard deviations s and σ, (s - σ) (s + σ) is the difference of variances.

    Args:
        spectra: (pixel, band) about a mean.
        vectors: (component, band) unit vectors.
        deviations: (component,) one of the results.
    """
    pixels, bands = spectra.shape
    magnitude, weight = np.abs(spectra), np.abs(vectors)
    products = magnitude.T @ magnitude / pixels
    moved = 2 * gamma(pixels + 2 * bands + 4, FLOAT64) * ((weight @ products) * weight).sum(axis=1)
    bound: NDArray[np.float64] = moved / deviations
    return bound


def check_rounded(found: NDArray[Any], bounded: Bounded) -> float:
    """Integers are a float result rounded, but where the result lies within its bound of a half.

    Args:
        found: (1, channel, ...) integers.
        bounded: float result before rounding.

    Returns:
        Share of the numbers that lie so near to a half that either neighbour is right.
    """
    from_half = np.abs(bounded.exact - np.floor(bounded.exact) - 0.5)
    either = from_half <= bounded.bound
    assert np.array_equal(found[~either], np.rint(bounded.exact)[~either])
    assert (np.abs(found - bounded.exact)[either] <= 0.5 + np.broadcast_to(bounded.bound, either.shape)[either]).all()
    return float(either.mean())
