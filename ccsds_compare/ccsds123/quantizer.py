"""Quantizer, its limits, and the mapping of its indices: CCSDS 123.0-B-2, 4.8 and 4.11.

The functions are compiled into the predictor's loop. All values are 64-bit: with D ≤ 32 and limits below 2^16, a
residual is below 2^33 and an index times its step below 2^50.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ccsds123.kernel import kernel, signed
from ccsds123.parameters import ErrorLimit

UNLIMITED = 1 << 40
"""An absolute limit that never binds, for relative limits alone."""


def limit_table(limit: ErrorLimit | None, bands: int, absent: int) -> NDArray[np.int64]:
    """Return the limits of every update period and band; one row of `absent` if this kind of limit is not used."""
    rows = np.array([[absent]] if limit is None else limit.values, np.int64)
    return np.ascontiguousarray(np.broadcast_to(rows, (len(rows), bands)))


@kernel
def maximum_error(absolute: int, relative: int, predicted: int, dynamic_range: int) -> int:
    """Return m_z(t), eqs. (42) to (45), from |ŝ|, since samples may be signed.

    Args:
        absolute: a_z, or UNLIMITED.
        relative: r_z, or −1 without relative limits.
        predicted: ŝ_z(t).
        dynamic_range: D.
    """
    if relative < 0:
        return absolute
    return min(absolute, (relative * abs(predicted)) >> dynamic_range)


@kernel
def quantize(residual: int, maximum: int) -> int:
    """Return q_z(t), eq. (41), for t > 0; at t = 0 the maximum error is 0 and the index is the residual itself.

    A correctly rounded quotient of integers below 2^52 never reaches the next integer, so its floor is exact;
    a floating-point division is several times as fast as an integer one.
    """
    if maximum == 0:
        return residual
    index = signed(np.float64(abs(residual) + maximum) / np.float64(2 * maximum + 1))
    negative = residual >> 63
    return (index ^ negative) - negative


@kernel
def map_index(index: int, maximum: int, double: int, predicted: int, low: int, high: int) -> int:
    """Return the mapped quantizer index δ_z(t), eqs. (55) and (56).

    The division that gives θ is done only where the index is beyond θ: |q| ≤ ⌊n / (2m + 1)⌋ if and only if
    |q|(2m + 1) ≤ n. The parity of the double-resolution prediction s̃, not of ŝ, tells which sign gets the even codes.

    Args:
        index: q_z(t).
        maximum: m_z(t).
        double: s̃_z(t).
        predicted: ŝ_z(t).
        low: s_min.
        high: s_max.
    """
    magnitude = abs(index)
    step = 2 * maximum + 1
    room = min(predicted - low, high - predicted) + maximum
    if magnitude * step > room:
        return magnitude + room // step
    # The sign with the odd codes is − where s̃ is even and + where it is odd; 0 has the code 0. The sign is as good as
    # random, so no branch may depend on it.
    odd = ((index ^ -(double & 1)) >> 63) & 1
    return 2 * magnitude - min(odd, magnitude)


@kernel
def unmap_index(mapped: int, maximum: int, double: int, predicted: int, low: int, high: int) -> int:
    """Return q_z(t) from a mapped quantizer index; the inverse of `map_index`."""
    magnitude = (mapped + 1) >> 1
    step = 2 * maximum + 1
    room = min(predicted - low, high - predicted) + maximum
    if magnitude * step > room:
        # Beyond θ, only the farther end of the range remains.
        magnitude = mapped - room // step
        return magnitude if predicted - low < high - predicted else -magnitude
    # Equal parities mean +. Parities are as good as random, so no branch may depend on them.
    negative = -((mapped ^ double) & 1)
    return (magnitude ^ negative) - negative
