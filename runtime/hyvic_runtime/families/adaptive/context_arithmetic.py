"""Exact arithmetic of contexts: logarithms of magnitudes, and sums over neighbours.

Everything here is an integer in float32. Sums stay below 2**24, which float32 holds in any order of additions. A larger
coefficient that is not clipped first enters single additions, which round alike on every processor (IEEE 754).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyvic_runtime.families.adaptive.planes import Planes

MAGNITUDE_MAX = 4095
"""Larger magnitudes count as this one where several are added."""
_LOG_BITS = 4
_MANTISSA_BITS, _EXPONENT_BIAS = 23, 127
"""Layout of float32, IEEE 754."""


def log_magnitude(magnitude: Planes) -> Planes:
    """Return 16 log2(1 + magnitude), linear between powers of two and rounded down.

    Magnitudes above 27 · MAGNITUDE_MAX count as that: nine magnitudes of MAGNITUDE_MAX, three times over, do not exceed
    it.

    >>> log_magnitude(np.array([0, 1, 2, 3, 4], np.float32)).tolist()
    [0.0, 16.0, 24.0, 32.0, 36.0]
    """
    return _highest_bits(np.minimum(magnitude, 27 * MAGNITUDE_MAX), _LOG_BITS)


def signed_log_magnitude(values: Planes) -> Planes:
    """Return `log_magnitude` with the sign of each value."""
    return np.copysign(log_magnitude(np.abs(values)), values)


def log_energy(energy: Planes) -> Planes:
    """Return 8 log2(1 + energy), linear between powers of two and rounded down."""
    return _highest_bits(energy, _LOG_BITS - 1)


def _highest_bits(number: Planes, bits: int) -> Planes:
    """Return 2**bits log2(1 + number) from float32's exponent and the highest bits of its mantissa."""
    words = np.add(number, 1, dtype=np.float32).view(np.int32)
    return np.asarray((words >> (_MANTISSA_BITS - bits)) - (_EXPONENT_BIAS << bits), np.float32)


def magnitudes(planes: Planes) -> tuple[Planes, Planes]:
    """Return `log_magnitude` of planes (…, line, sample): of each coefficient, and of the sum of 3 × 3 of them."""
    magnitude = np.abs(planes)
    return log_magnitude(magnitude), log_magnitude(sum_3x3(np.minimum(magnitude, MAGNITUDE_MAX)))


def sum_3x3(planes: Planes) -> Planes:
    """Sum 3 × 3 neighbours; each edge repeats beyond itself."""
    framed = _framed(planes)
    framed[..., 0, :], framed[..., -1, :] = framed[..., 1, :], framed[..., -2, :]
    framed[..., 0], framed[..., -1] = framed[..., 1], framed[..., -2]
    lines = framed[..., :-2, :] + framed[..., 1:-1, :]
    lines += framed[..., 2:, :]
    sums = lines[..., :-2] + lines[..., 1:-1]
    sums += lines[..., 2:]
    return np.asarray(sums)


def neighbour_sums(planes: Planes) -> tuple[Planes, Planes]:
    """Sum the two neighbours along samples, and the two along lines; beyond the edges lies zero."""
    framed = _framed(planes)
    return (
        framed[..., 1:-1, :-2] + framed[..., 1:-1, 2:],
        framed[..., :-2, 1:-1] + framed[..., 2:, 1:-1],
    )


def enlarged(planes: Planes, shape: Sequence[int]) -> Planes:
    """Repeat lines and samples twice, and cut to `shape`."""
    lines, samples = shape
    return planes.repeat(2, axis=-2)[..., :lines, :].repeat(2, axis=-1)[..., :samples]


def _framed(planes: Planes) -> Planes:
    """Put a line and a sample of zeros on either side."""
    *others, lines, samples = planes.shape
    framed = np.zeros((*others, lines + 2, samples + 2), np.float32)
    framed[..., 1:-1, 1:-1] = planes
    return framed
