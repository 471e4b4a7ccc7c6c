"""Predictor, quantizer and mapping in one loop, both ways: CCSDS 123.0-B-2, section 4.

The loop runs pixel by pixel with all bands of a pixel together, whatever the encoding order. Prediction depends only on
earlier pixels of the same band and on the P preceding bands of the same pixel. So most of the work of a pixel is the
same short operation on every band, which the compiler turns into vector instructions:

    earlier pixels ──▶ local sums, directional differences, their share of the inner product    all bands at once
    this pixel     ──▶ central differences' share, prediction, index, representative            band after band
    index's error  ──▶ weights for the next pixel                                               all bands at once

The middle step is a chain from band to band, since a representative enters the next bands' predictions. The encoder
knows the representatives beforehand in lossless mode with φ = 0, where they are the samples. Then this step, too, runs
over all bands at once. The chain, about twenty cycles a sample, limits the decoder.

Arrays are (line, sample, band). Rows 0 to 2 of the differences are the directional ones. Row 3 holds the central ones,
after P zeros for the bands that do not exist. Their weights lie in the same way. A zero difference leaves a zero weight
zero (eq. (51)).

Width: with D ≤ 16 a representative lies in −2^15 − 1..2^16, so a difference |4s″ − σ| ≤ 8·2^16 + 8 < 2^20, more
exactly ≤ 2^18 + 8 as s″ and σ/4 share a range. Shifted left by at most 12, a difference stays below 2^31, as do weights
(22 bits) and rounding (2^26). So 32-bit arrays suffice unless ρ + ς can fall below −12 (`narrow_suffices`). The
inner product of 18 terms of at most 2^21 · 2^35 and 2^Ω(σ − 4s_mid) is below 2^61. It is always 64 bits wide, and there
mod*_R (eq. (37)) is a pair of shifts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ccsds123.encoding_order import Mapped
from ccsds123.kernel import Integers, kernel, signed
from ccsds123.parameters import LocalSum
from ccsds123.quantizer import map_index, maximum_error, quantize, unmap_index

DIRECTIONAL = 3
CENTRAL = 3
"""Row of the central differences, after the directional ones."""
# Numba takes plain integers for constants.
WIDE_NEIGHBOR = int(LocalSum.WIDE_NEIGHBOR_ORIENTED)
NARROW_NEIGHBOR = int(LocalSum.NARROW_NEIGHBOR_ORIENTED)
WIDE_COLUMN = int(LocalSum.WIDE_COLUMN_ORIENTED)
NARROW_COLUMN = int(LocalSum.NARROW_COLUMN_ORIENTED)


class Constants(NamedTuple):
    """Constants of an image, in the form that compiled kernels take.

    Attributes:
        low, high, middle: s_min, s_max and s_mid.
        dynamic_range: D.
        prediction_bands: P.
        directional: rows of directional differences in use: 3, or 0 in reduced mode.
        sum_type: local sum type.
        spare: 64 − R.
        resolution: Ω.
        change_interval: t_inc.
        initial_exponent, final_exponent: ν_min and ν_max.
        theta: Θ.
        shaped: whether any φ_z or ψ_z is not 0.
        lossless: whether there are no error limits.
        period_shift: u, or 16 without periodic updating: line numbers are below 2^16, so that row 0 is always read.
    """

    low: int
    high: int
    middle: int
    dynamic_range: int
    prediction_bands: int
    directional: int
    sum_type: int
    spare: int
    resolution: int
    change_interval: int
    initial_exponent: int
    final_exponent: int
    theta: int
    shaped: bool
    lossless: bool
    period_shift: int


# ------------------------------------------------------------------------------- all bands of a pixel at once


@kernel
def _add_rows(total: Integers, a: Integers, b: Integers, c: Integers, d: Integers) -> None:
    """Write σ as the sum of four rows, eqs. (20) to (23)."""
    integer = total.dtype.type
    for band in range(total.size):
        total[band] = integer(a[band] + b[band] + c[band] + d[band])


@kernel
def _subtract_sum(difference: Integers, representative: Integers, local_sum: Integers) -> None:
    """Write local differences 4s″ − σ, eqs. (24) to (27)."""
    integer = difference.dtype.type
    for band in range(difference.size):
        difference[band] = integer(4 * representative[band] - local_sum[band])


@kernel
def _begin_product(total: Integers, local_sum: Integers, four_middle: int, resolution: int) -> None:
    """Write 2^Ω (σ − 4 s_mid), eq. (37)."""
    for band in range(total.size):
        total[band] = (signed(local_sum[band]) - four_middle) << resolution


@kernel
def _add_product(total: Integers, weight: Integers, difference: Integers) -> None:
    """Add one component of the inner product, eq. (36)."""
    for band in range(total.size):
        total[band] += signed(weight[band]) * signed(difference[band])


@kernel
def _update_weights(weight: Integers, difference: Integers, sign: Integers, exponent: int, limit: int) -> None:
    """Update weights with one exponent for all bands, eqs. (51) to (54).

    ⌊½(±2^−p d + 1)⌋ is (±d + 2^p) >> (p + 1) for p ≥ 0, and ((±d << −p) + 1) >> 1 for p < 0; the floor
    covers the whole.
    """
    integer = weight.dtype.type
    low, high = integer(-limit), integer(limit - 1)
    left, right = max(-exponent, 0), max(exponent, 0) + 1
    rounding = integer(1 << (right - 1))
    for band in range(weight.size):
        scaled = integer(sign[band] * integer(difference[band] << left))
        step = integer(integer(scaled + rounding) >> right)
        weight[band] = min(max(integer(weight[band] + step), low), high)


@kernel
def _update_weights_each(
    weight: Integers, difference: Integers, sign: Integers, exponent: int, offsets: Integers, limit: int
) -> None:
    """Update weights with an exponent offset for each band; see `_update_weights`."""
    integer = weight.dtype.type
    low, high = integer(-limit), integer(limit - 1)
    for band in range(weight.size):
        sum_of_exponents = exponent + offsets[band]
        left, right = max(-sum_of_exponents, 0), max(sum_of_exponents, 0) + 1
        scaled = signed(sign[band]) * (signed(difference[band]) << left)
        step = (scaled + (signed(1) << (right - 1))) >> right
        weight[band] = integer(min(max(signed(weight[band]) + step, low), high))


@kernel
def _high_resolution(product: int, constants: Constants) -> int:
    """Return s̆, eq. (37)."""
    low, high, middle, resolution = constants.low, constants.high, constants.middle, constants.resolution
    wrapped = (product << constants.spare) >> constants.spare
    value = wrapped + (middle << (resolution + 2)) + (1 << (resolution + 1))
    return min(max(value, low << (resolution + 2)), (high << (resolution + 2)) + (1 << (resolution + 1)))


@kernel
def _map_known(mapped: Mapped, sign: Integers, samples: Integers, product: Integers, constants: Constants) -> None:
    """Predict, eqs. (37) to (40), and map lossless residuals, eqs. (55) and (56), without a branch."""
    integer = sign.dtype.type
    for band in range(samples.size):
        double = _high_resolution(product[band], constants) >> (constants.resolution + 1)
        predicted = double >> 1
        index = signed(samples[band]) - predicted
        mapped[band] = np.uint32(map_index(index, 0, double, predicted, constants.low, constants.high))
        sign[band] = integer(1 if 2 * samples[band] >= double else -1)


# ----------------------------------------------------------------------------------------- band after band


@kernel
def _representative(
    clipped: int,
    index: int,
    maximum: int,
    high_resolution: int,
    damping: int,
    offset: int,
    constants: Constants,
) -> int:
    """Return s″, eqs. (46) and (47), for t > 0."""
    theta, resolution = constants.theta, constants.resolution
    sign = (index > 0) - (index < 0)
    biased = (clipped << resolution) - ((sign * maximum * offset) << (resolution - theta))
    double = (4 * ((1 << theta) - damping) * biased + damping * high_resolution - (damping << (resolution + 1))) >> (
        resolution + theta + 1
    )
    return (double + 1) >> 1


@kernel
def _code_first(decode: bool, samples: Integers, mapped: Mapped, row: Integers, constants: Constants) -> None:
    """Code the pixel t = 0: no weights, no quantization, and s̃ of the band before, eq. (38)."""
    low, high = constants.low, constants.high
    predicted = signed(constants.middle)
    for band in range(samples.size):
        if decode:
            index = unmap_index(signed(mapped[band]), 0, 0, predicted, low, high)
            samples[band] = min(max(predicted + index, low), high)
        else:
            mapped[band] = map_index(samples[band] - predicted, 0, 0, predicted, low, high)
        row[band] = samples[band]
        if constants.prediction_bands > 0:
            predicted = signed(samples[band])


@kernel
def _unmap_lossless(
    samples: Integers,
    mapped: Mapped,
    row: Integers,
    difference: Integers,
    sign: Integers,
    product: Integers,
    local_sum: Integers,
    weights: Integers,
    constants: Constants,
) -> None:
    """Decode as `_code_chain` where m_z(t) = 0 and s″ = s, with the shortest chain from band to band."""
    low, high = constants.low, constants.high
    integer = sign.dtype.type
    components = len(weights)
    previous = signed(0)
    for band in range(samples.size):
        total = product[band]
        for component in range(1, components):
            total += signed(weights[component, band]) * signed(difference[band + components - 1 - component])
        if components > 0:
            total += signed(weights[0, band]) * previous
        double = _high_resolution(total, constants) >> (constants.resolution + 1)
        predicted = double >> 1
        code = signed(mapped[band])
        magnitude = (code + 1) >> 1
        if magnitude <= min(predicted - low, high - predicted):
            # Equal parities mean + (eq. (55)). Parities are as good as random, so no branch may depend on them.
            negative = -((code ^ double) & 1)
            value = predicted + ((magnitude ^ negative) - negative)
        else:
            value = predicted + unmap_index(code, 0, double, predicted, low, high)
            value = min(max(value, low), high)
        previous = 4 * value - signed(local_sum[band])
        difference[band + components] = previous
        samples[band] = value
        row[band] = value
        sign[band] = integer(1 if 2 * value >= double else -1)


@kernel
def _code_chain(
    decode: bool,
    samples: Integers,
    mapped: Mapped,
    row: Integers,
    difference: Integers,
    sign: Integers,
    product: Integers,
    local_sum: Integers,
    weights: Integers,
    absolute: Integers,
    relative: Integers,
    damping: Integers,
    offset: Integers,
    constants: Constants,
) -> None:
    """Code all bands of a pixel where a band's representative must be known for the next band's prediction.

    The central differences stand after as many zeros as there are components; `weights` are the weights of these
    components. `product` holds 2^Ω(σ − 4s_mid) and the directional components' share of the inner product.
    """
    low, high = constants.low, constants.high
    integer = sign.dtype.type
    components = len(weights)
    previous = signed(0)
    for band in range(samples.size):
        total = product[band]
        for component in range(1, components):
            total += signed(weights[component, band]) * signed(difference[band + components - 1 - component])
        if components > 0:
            total += signed(weights[0, band]) * previous
        high_resolution = _high_resolution(total, constants)
        double = high_resolution >> (constants.resolution + 1)
        predicted = double >> 1
        maximum = maximum_error(absolute[band], relative[band], predicted, constants.dynamic_range)
        if decode:
            index = unmap_index(signed(mapped[band]), maximum, double, predicted, low, high)
        else:
            index = quantize(signed(samples[band]) - predicted, maximum)
            mapped[band] = map_index(index, maximum, double, predicted, low, high)
        clipped = min(max(predicted + index * (2 * maximum + 1), low), high)
        if decode:
            samples[band] = clipped
        value = clipped
        if constants.shaped:
            value = _representative(clipped, index, maximum, high_resolution, damping[band], offset[band], constants)
        row[band] = value
        previous = 4 * value - local_sum[band]
        difference[band + components] = previous
        sign[band] = integer(1 if 2 * clipped >= double else -1)


# ------------------------------------------------------------------------------------------------ the loop


@kernel
def code(
    decode: bool,
    samples: Integers,
    mapped: Mapped,
    weights: Integers,
    offsets: Integers,
    absolute: Integers,
    relative: Integers,
    damping: Integers,
    offset: Integers,
    constants: Constants,
) -> None:
    lines, width, bands = mapped.shape
    middle, resolution, sum_type = constants.middle, constants.resolution, constants.sum_type
    prediction_bands, directional = constants.prediction_bands, constants.directional
    lossless, shaped = constants.lossless, constants.shaped
    # Two lines of representatives, with an s_mid before each pixel: shifted by one band, a row of them gives the narrow
    # local sums of line 0, eqs. (21) and (23).
    history = np.full((2, width, bands + 1), middle, weights.dtype)
    local_sum = np.empty(bands, weights.dtype)
    differences = np.zeros((DIRECTIONAL + 1, prediction_bands + bands), weights.dtype)
    sign = np.empty(bands, weights.dtype)
    product = np.empty(bands, np.int64)
    components = len(weights)
    limit = 1 << (resolution + 2)
    known = lossless and not shaped and not decode
    for line in range(lines):
        above, here = history[(line + 1) & 1], history[line & 1]
        absolute_row = absolute[min(line >> constants.period_shift, len(absolute) - 1)]
        relative_row = relative[min(line >> constants.period_shift, len(relative) - 1)]
        for sample in range(width):
            row = here[sample, 1:]
            if line == 0 and sample == 0:
                _code_first(decode, samples[0, 0], mapped[0, 0], row, constants)
                continue
            # Missing neighbours are replaced as each equation of 4.4 and 4.5 says.
            north = above[sample, 1:]
            if line == 0:
                west = here[sample - 1, 1:]
                before = here[sample - 1, :bands] if sum_type in (NARROW_NEIGHBOR, NARROW_COLUMN) else west
                _add_rows(local_sum, before, before, before, before)
            else:
                west = here[max(sample - 1, 0), 1:] if sample > 0 else north
                north_west = above[max(sample - 1, 0), 1:]
                north_east = above[min(sample + 1, width - 1), 1:]
                if sum_type in (WIDE_COLUMN, NARROW_COLUMN):
                    _add_rows(local_sum, north, north, north, north)
                elif sample == 0:
                    _add_rows(local_sum, north, north, north_east, north_east)
                elif sum_type == WIDE_NEIGHBOR:
                    _add_rows(local_sum, west, north_west, north, north_east)
                elif sample == width - 1:
                    _add_rows(local_sum, north_west, north_west, north, north)
                else:
                    _add_rows(local_sum, north_west, north, north, north_east)
                if directional:
                    _subtract_sum(differences[0, prediction_bands:], north, local_sum)
                    _subtract_sum(differences[1, prediction_bands:], west, local_sum)
                    _subtract_sum(differences[2, prediction_bands:], north_west, local_sum)
            # In line 0 the directional differences still have their initial zeros, eqs. (25) to (27).
            _begin_product(product, local_sum, 4 * middle, resolution)
            if line > 0:
                for component in range(directional):
                    _add_product(product, weights[component], differences[component, prediction_bands:])
            if known:
                row[:] = samples[line, sample]
                _subtract_sum(differences[CENTRAL, prediction_bands:], row, local_sum)
                for component in range(directional, components):
                    first = prediction_bands - 1 - (component - directional)
                    _add_product(product, weights[component], differences[CENTRAL, first : first + bands])
                _map_known(mapped[line, sample], sign, row, product, constants)
            elif lossless and not shaped:
                _unmap_lossless(
                    samples[line, sample],
                    mapped[line, sample],
                    row,
                    differences[CENTRAL],
                    sign,
                    product,
                    local_sum,
                    weights[directional:],
                    constants,
                )
            else:
                _code_chain(
                    decode,
                    samples[line, sample],
                    mapped[line, sample],
                    row,
                    differences[CENTRAL],
                    sign,
                    product,
                    local_sum,
                    weights[directional:],
                    absolute_row,
                    relative_row,
                    damping,
                    offset,
                    constants,
                )
            # Eq. (50); the division is a floor, also for the negative numbers of line 0.
            exponent = constants.initial_exponent + (line * width + sample - width) // constants.change_interval
            exponent = min(max(exponent, constants.initial_exponent), constants.final_exponent)
            exponent += constants.dynamic_range - resolution
            for component in range(directional if line == 0 else 0, components):
                if component < directional:
                    difference = differences[component, prediction_bands:]
                else:
                    first = prediction_bands - 1 - (component - directional)
                    difference = differences[CENTRAL, first : first + bands]
                if len(offsets) > 0:
                    _update_weights_each(weights[component], difference, sign, exponent, offsets[component], limit)
                else:
                    _update_weights(weights[component], difference, sign, exponent, limit)
