"""Sample-adaptive entropy coder, CCSDS 123.0-B-2, 5.4.3.2.

Each index is a length-limited Golomb-power-of-2 codeword whose parameter follows the mean of the band's earlier
indices: the decoder knows Σ_z(t) and Γ(t) before it reads δ_z(t).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hyvic_runtime.errors import DecodeError
from numpy.typing import NDArray

from ccsds123.bit_stream import (
    BEGIN,
    Place,
    Window,
    Words,
    leading_zeros,
    octets_from_words,
    put,
    take,
    window,
    words_from_octets,
)
from ccsds123.encoding_order import EncodingLoops, Limits, Mapped
from ccsds123.entropy_coders import Hybrid, SampleAdaptive
from ccsds123.kernel import Integers, kernel, signed

TRUNCATED, TOO_LARGE = -1, -2


class CodeLimits(NamedTuple):
    """Constants of a coder and an image that compiled kernels need.

    Attributes:
        unary: U_max, largest quotient in zeros.
        counter_size: γ*; from 2^γ* − 1 the counter goes back to 2^(γ* − 1).
        initial_exponent: γ0.
        dynamic_range: D.
    """

    unary: int
    counter_size: int
    initial_exponent: int
    dynamic_range: int


def code_limits(coder: SampleAdaptive | Hybrid, dynamic_range: int) -> CodeLimits:
    """Return the constants of a coder for samples of D bits."""
    return CodeLimits(
        coder.unary_length_limit, coder.rescaling_counter_size, coder.initial_count_exponent, dynamic_range
    )


def initial_accumulators(coder: SampleAdaptive, dynamic_range: int, bands: int) -> NDArray[np.int64]:
    """Return Σ_z(1), eqs. (58) and (59)."""
    given = coder.accumulator_initialization
    assert given is not None
    k = np.broadcast_to(np.array(given, np.int64), bands)
    k = np.where(k <= 30 - dynamic_range, k, 2 * k + dynamic_range - 30)
    return (3 * (1 << (k + 6)) - 49) * (1 << coder.initial_count_exponent) // 2**7


def encode(sequence: Mapped, loops: EncodingLoops, coder: SampleAdaptive, dynamic_range: int, limits: Limits) -> bytes:
    """Return the body without its final fill."""
    longest = coder.unary_length_limit + dynamic_range
    words = np.empty((len(sequence) * longest + limits.shape[0] * int(loops.limit_widths.sum())) // 32 + 2, np.uint32)
    accumulators = initial_accumulators(coder, dynamic_range, loops.bands)
    place = _encode(sequence, words, accumulators, loops, code_limits(coder, dynamic_range), limits)
    return octets_from_words(words, place)


def decode(
    octets: bytes, loops: EncodingLoops, coder: SampleAdaptive, dynamic_range: int
) -> tuple[Mapped, Limits, int]:
    """Return indices in encoding order, inline error limits (update, value), and the bits read.

    Raises:
        DecodeError: the body ends early, or an index has more than D bits.
    """
    size = loops.size
    if size > 8 * len(octets):
        raise DecodeError(
            f"{size} samples do not fit a body of {len(octets)} octets; the header or the body is damaged"
        )
    sequence = np.empty(size, np.uint32)
    limits = np.empty(loops.limits_shape, np.int64)
    accumulators, code = initial_accumulators(coder, dynamic_range, loops.bands), code_limits(coder, dynamic_range)
    bits = _decode(words_from_octets(octets), 8 * len(octets) + 64, sequence, accumulators, loops, code, limits)
    if bits == TRUNCATED:
        raise DecodeError("the body ends before its last sample; it is damaged or incomplete")
    if bits == TOO_LARGE:
        raise DecodeError(f"an index has more than {dynamic_range} bits; the body is damaged")
    return sequence, limits, bits


@kernel
def counter_at(t: int, first: int, code: CodeLimits) -> int:
    """Return Γ(t), eqs. (57) and (61) or (63) and (65), in closed form.

    Args:
        t: at least `first`.
        first: the t at which Γ is 2^γ0.
        code: constants of the coder.
    """
    steps = t - first + (1 << code.initial_exponent)
    if steps < 1 << code.counter_size:
        return steps
    half = 1 << (code.counter_size - 1)
    return half + (steps - 2 * half) % half


@kernel
def put_limits(words: Words, place: Place, row: Integers, widths: Integers) -> Place:
    """Append the error limits of one update; see `put`."""
    for column in range(len(widths)):
        place = put(words, place, row[column], widths[column])
    return place


@kernel
def _code_index(accumulator: int, counter: int, counter_width: int, largest: int) -> int:
    """Return k_z(t), eq. (62): the largest k ≤ D − 2 with Γ 2^k ≤ Σ + ⌊49 Γ / 2^7⌋, or 0.

    The lengths of both sides give k or k + 1.
    """
    bound = accumulator + ((49 * counter) >> 7)
    k = max(64 - leading_zeros(bound) - counter_width, 0)
    if counter << k > bound:
        k -= 1
    return min(max(k, 0), largest)


@kernel
def _encode(
    sequence: Mapped, words: Words, accumulators: Integers, loops: EncodingLoops, code: CodeLimits, limits: Integers
) -> Place:
    place, at = BEGIN, 0
    for line in range(loops.lines):
        if len(loops.limit_widths) > 0 and line % loops.limit_period == 0:
            place = put_limits(words, place, limits[line // loops.limit_period], loops.limit_widths)
        for first in range(0, loops.bands, loops.depth):
            last = min(first + loops.depth, loops.bands)
            counter = counter_at(max(line * loops.samples, 1), 1, code)
            for sample in range(loops.samples):
                if line == 0 and sample == 0:
                    for _ in range(first, last):
                        place = put(words, place, signed(sequence[at]), code.dynamic_range)
                        at += 1
                    continue
                rescale = counter == (1 << code.counter_size) - 1
                counter_width = 64 - leading_zeros(counter)
                for band in range(first, last):
                    value = signed(sequence[at])
                    at += 1
                    statistic = accumulators[band]
                    k = _code_index(statistic, counter, counter_width, code.dynamic_range - 2)
                    quotient = value >> k
                    one_and_rest = (1 << k) | (value & ((1 << k) - 1))
                    if quotient + 1 + k <= 32 and quotient < code.unary:
                        place = put(words, place, one_and_rest, quotient + 1 + k)
                    elif quotient < code.unary:
                        place = put(words, place, 0, quotient)
                        place = put(words, place, one_and_rest, 1 + k)
                    else:
                        place = put(words, place, 0, code.unary)
                        place = put(words, place, value, code.dynamic_range)
                    statistic += value
                    accumulators[band] = (statistic + 1) >> 1 if rescale else statistic
                counter = (counter + 1) >> 1 if rescale else counter + 1
    return place


@kernel
def _decode(
    words: Window,
    bits: int,
    sequence: Mapped,
    accumulators: Integers,
    loops: EncodingLoops,
    code: CodeLimits,
    limits: Integers,
) -> int:
    """Return the bits read, or TRUNCATED, or TOO_LARGE; `bits` is where they end, the first being bit 64."""
    position = 64
    at = 0
    for line in range(loops.lines):
        if len(loops.limit_widths) > 0 and line % loops.limit_period == 0:
            for column in range(len(loops.limit_widths)):
                limits[line // loops.limit_period, column] = take(words, position, loops.limit_widths[column])
                position += loops.limit_widths[column]
                if position > bits:
                    return TRUNCATED
        for first in range(0, loops.bands, loops.depth):
            last = min(first + loops.depth, loops.bands)
            counter = counter_at(max(line * loops.samples, 1), 1, code)
            for sample in range(loops.samples):
                if line == 0 and sample == 0:
                    for _ in range(first, last):
                        sequence[at] = np.uint32(take(words, position, code.dynamic_range))
                        at += 1
                        position += code.dynamic_range
                        if position > bits:
                            return TRUNCATED
                    continue
                rescale = counter == (1 << code.counter_size) - 1
                counter_width = 64 - leading_zeros(counter)
                for band in range(first, last):
                    statistic = accumulators[band]
                    k = _code_index(statistic, counter, counter_width, code.dynamic_range - 2)
                    ahead = window(words, position)
                    quotient = leading_zeros(ahead)
                    if quotient < code.unary:
                        # The one and the k bits after it; quotient ≤ 31 and k ≤ 30, so the shift is positive.
                        one_and_rest = signed(ahead >> np.uint64(63 - quotient - k))
                        value = ((quotient - 1) << k) + one_and_rest
                        position += quotient + 1 + k
                        if value >> code.dynamic_range:
                            return TOO_LARGE
                    else:
                        value = signed((ahead << np.uint64(code.unary)) >> np.uint64(64 - code.dynamic_range))
                        position += code.unary + code.dynamic_range
                    if position > bits:
                        return TRUNCATED
                    sequence[at] = np.uint32(value)
                    at += 1
                    statistic += value
                    accumulators[band] = (statistic + 1) >> 1 if rescale else statistic
                counter = (counter + 1) >> 1 if rescale else counter + 1
    return position - 64
