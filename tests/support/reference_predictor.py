"""The predictor as the book writes it, CCSDS 123.0-B-2, section 4: plain Python, a sample at a time, for reading.

`predictor` computes the same some thousand times as fast; the tests hold it against this.
"""

from __future__ import annotations

import numpy as np
from ccsds123 import ErrorLimit, LocalSum, Parameters, SampleRepresentatives
from ccsds123.codec import Cube, shape_of
from numpy.typing import NDArray


def reference_mapped(cube: Cube, parameters: Parameters) -> NDArray[np.uint32]:
    """Mapped quantizer indices δ of an image, (line, sample, band)."""
    return reference_prediction(cube, parameters)[0]


def reference_prediction(cube: Cube, parameters: Parameters) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Mapped quantizer indices δ, and the maximum error m of every sample, (line, sample, band)."""
    predictor = ReferencePredictor(cube, parameters)
    mapped, maximum = np.empty(cube.shape, np.uint32), np.empty(cube.shape, np.int64)
    for z in range(cube.shape[2]):
        for y in range(cube.shape[0]):
            for x in range(cube.shape[1]):
                mapped[y, x, z] = predictor.code(z, y, x)
                maximum[y, x, z] = predictor.m[z, y, x]
    return mapped, maximum


class ReferencePredictor:
    """State of the predictor; symbols are the book's, s2 being s″ and s1 being s′."""

    def __init__(self, cube: Cube, parameters: Parameters) -> None:
        p = parameters.predictor
        self.parameters, self.shape = parameters, shape_of(cube)
        self.NX, self.P, self.full = self.shape.samples, p.prediction_bands, not p.reduced
        self.D, self.Omega, self.R = parameters.dynamic_range, p.weight_resolution, p.register_size
        self.s_min, self.s_max, self.s_mid = parameters.sample_limits
        self.s = {(z, y, x): int(cube[y, x, z]) for y, x, z in np.ndindex(cube.shape)}
        self.s1: dict[tuple[int, int, int], int] = {}
        self.s2: dict[tuple[int, int, int], int] = {}
        self.m: dict[tuple[int, int, int], int] = {}
        self.weights = [self.initial_weights(z) for z in range(self.shape.bands)]

    def initial_weights(self, z: int) -> list[int]:
        """W_z(1), 4.6.3."""
        custom, count = self.parameters.predictor.weight_initialization, min(z, self.P)
        if custom is not None:
            assert custom.vectors is not None
            Q, Omega = custom.resolution, self.Omega
            # Eq. (35); ⌈2^(Ω + 2 − Q) − 1⌉ is 0 where the power is below 1.
            ones = max(2 ** (Omega + 2 - Q) - 1, 0) if Omega + 2 >= Q else 0
            return [2 ** (Omega + 3 - Q) * component + ones for component in custom.vectors[z]]
        weights = [7 * 2**self.Omega // 8 // 8**i for i in range(count)]  # eq. (33)
        return [0, 0, 0, *weights] if self.full else weights

    def local_sum(self, z: int, y: int, x: int) -> int:
        """σ, eqs. (20) to (23)."""
        kind, last, s2 = self.parameters.predictor.local_sum, self.NX - 1, self.s2
        narrow = kind in (LocalSum.NARROW_NEIGHBOR_ORIENTED, LocalSum.NARROW_COLUMN_ORIENTED)
        if y == 0:
            if not narrow:
                return 4 * s2[z, y, x - 1]
            return 4 * s2[z - 1, y, x - 1] if z > 0 else 4 * self.s_mid
        north = s2[z, y - 1, x]
        if kind in (LocalSum.WIDE_COLUMN_ORIENTED, LocalSum.NARROW_COLUMN_ORIENTED):
            return 4 * north
        if x == 0:
            return 2 * (north + s2[z, y - 1, x + 1])
        west, north_west = s2[z, y, x - 1], s2[z, y - 1, x - 1]
        if x == last:
            return 2 * (north_west + north) if narrow else west + north_west + 2 * north
        north_east = s2[z, y - 1, x + 1]
        return north_west + 2 * north + north_east if narrow else west + north_west + north + north_east

    def differences(self, z: int, y: int, x: int) -> list[int]:
        """U_z(t), eqs. (24) to (29)."""
        central = [4 * self.s2[i, y, x] - self.local_sum(i, y, x) for i in range(z - 1, max(z - self.P, 0) - 1, -1)]
        if not self.full:
            return central
        if y == 0:
            return [0, 0, 0, *central]
        sigma, north = self.local_sum(z, y, x), self.s2[z, y - 1, x]
        west = self.s2[z, y, x - 1] if x > 0 else north
        north_west = self.s2[z, y - 1, x - 1] if x > 0 else north
        return [4 * north - sigma, 4 * west - sigma, 4 * north_west - sigma, *central]

    def maximum_error(self, z: int, y: int, prediction: int) -> int:
        """m_z(t), eqs. (42) to (45)."""
        limits = self.parameters.error_limits
        if limits is None:
            return 0

        def value(limit: ErrorLimit) -> int:
            row = limit.values[y >> (limits.update_period_exponent or 0) if periodic else 0]
            return row[z] if limit.band_dependent else row[0]

        periodic = limits.update_period_exponent is not None
        errors = []
        if limits.absolute is not None:
            errors.append(value(limits.absolute))
        if limits.relative is not None:
            errors.append(value(limits.relative) * abs(prediction) // 2**self.D)
        return min(errors)

    def code(self, z: int, y: int, x: int) -> int:
        """δ_z(t); bands and samples come in order."""
        t, at, Omega = y * self.NX + x, (z, y, x), self.Omega
        if t == 0:
            double = 2 * self.s[z - 1, 0, 0] if self.P > 0 and z > 0 else 2 * self.s_mid  # eq. (38)
            prediction = double // 2
            m = self.m[at] = 0
            q = self.s[at] - prediction
            self.s1[at] = self.s2[at] = self.s[at]
            return self.map(q, m, double, prediction)
        U = self.differences(z, y, x)
        product = sum(w * d for w, d in zip(self.weights[z], U, strict=True))  # eq. (36)
        register = (
            product + 2**Omega * (self.local_sum(z, y, x) - 4 * self.s_mid) + 2 ** (self.R - 1)
        ) % 2**self.R - 2 ** (self.R - 1)  # eq. (4)
        high_resolution = clip(
            register + 2 ** (Omega + 2) * self.s_mid + 2 ** (Omega + 1),
            2 ** (Omega + 2) * self.s_min,
            2 ** (Omega + 2) * self.s_max + 2 ** (Omega + 1),
        )  # eq. (37)
        double = high_resolution // 2 ** (Omega + 1)  # eq. (38)
        prediction = double // 2  # eq. (39)
        residual = self.s[at] - prediction
        m = self.m[at] = self.maximum_error(z, y, prediction)
        q = sign(residual) * ((abs(residual) + m) // (2 * m + 1))  # eq. (41)
        self.s1[at] = clip(prediction + q * (2 * m + 1), self.s_min, self.s_max)  # eq. (48)
        self.s2[at] = self.representative(z, self.s1[at], q, m, high_resolution)
        self.update_weights(z, t, 2 * self.s1[at] - double, U)
        return self.map(q, m, double, prediction)

    def representative(self, z: int, s1: int, q: int, m: int, high_resolution: int) -> int:
        """s″, eqs. (46) and (47)."""
        given = self.parameters.sample_representatives or SampleRepresentatives(resolution=1)
        Theta, Omega = given.resolution, self.Omega
        phi, psi = (v[z] if isinstance(v, tuple) else v for v in (given.damping, given.offset))
        assert phi is not None
        assert psi is not None
        double: int = (
            4 * (2**Theta - phi) * (s1 * 2**Omega - sign(q) * m * psi * 2 ** (Omega - Theta))
            + phi * high_resolution
            - phi * 2 ** (Omega + 1)
        ) // 2 ** (Omega + Theta + 1)
        return (double + 1) // 2

    def update_weights(self, z: int, t: int, error: int, U: list[int]) -> None:
        """Eqs. (49) to (54)."""
        p = self.parameters.predictor
        low, high = p.weight_initial_exponent, p.weight_final_exponent
        rho = clip(low + (t - self.NX) // p.weight_change_interval, low, high) + self.D - self.Omega
        offsets = [0] * len(U)
        if p.weight_exponent_offsets is not None:
            assert p.weight_exponent_offsets.values is not None
            row = p.weight_exponent_offsets.values[z]
            offsets = [row[0]] * 3 + list(row[1:]) if self.full else list(row)
        for i, (d, offset) in enumerate(zip(U, offsets, strict=True)):
            signed = d if error >= 0 else -d  # sgn⁺
            exponent = rho + offset
            # ⌊½(signed · 2^−exponent + 1)⌋ in integers.
            numerator, denominator = signed * 2 ** max(-exponent, 0), 2 ** max(exponent, 0)
            step = (numerator + denominator) // (2 * denominator)
            self.weights[z][i] = clip(self.weights[z][i] + step, -(2 ** (self.Omega + 2)), 2 ** (self.Omega + 2) - 1)

    def map(self, q: int, m: int, double: int, prediction: int) -> int:
        """δ, eqs. (55) and (56)."""
        theta = min((prediction - self.s_min + m) // (2 * m + 1), (self.s_max - prediction + m) // (2 * m + 1))
        if abs(q) > theta:
            return abs(q) + theta
        even = -q if double % 2 else q  # (−1)^s̃ q
        return 2 * abs(q) if 0 <= even <= theta else 2 * abs(q) - 1


def clip(value: int, low: int, high: int) -> int:
    """Eq. (5)."""
    return min(max(value, low), high)


def sign(value: int) -> int:
    """Eq. (6)."""
    return (value > 0) - (value < 0)
