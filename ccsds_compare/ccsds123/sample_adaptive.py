"""Sample-adaptive entropy coder, CCSDS 123.0-B-2, 5.4.3.2.

Each index is a length-limited Golomb-power-of-2 codeword whose parameter follows the mean of the band's earlier
indices: Σ_z(t) and Γ(t) are known to the decoder before it reads δ_z(t).
"""

from __future__ import annotations

import numpy as np
from hyvic_runtime.errors import DecodeError
from numpy.typing import NDArray

from ccsds123.bit_stream import (
    Window,
    Words,
    leading_zeros,
    octets_from_words,
    put,
    take,
    window,
    words_from_octets,
)
from ccsds123.encoding_order import InlineLimits, Mapped, Walk
from ccsds123.kernel import Integers, kernel, signed
from ccsds123.parameters import SampleAdaptive

TRUNCATED, TOO_LARGE = -1, -2


def initial_accumulators(coder: SampleAdaptive, dynamic_range: int, bands: int) -> NDArray[np.int64]:
    """Σ_z(1), eqs. (58) and (59)."""
    given = coder.accumulator_initialization
    assert given is not None
    k = np.broadcast_to(np.array(given, np.int64), bands)
    k = np.where(k <= 30 - dynamic_range, k, 2 * k + dynamic_range - 30)
    return (3 * (1 << (k + 6)) - 49) * (1 << coder.initial_count_exponent) // 2**7


def encode(
    sequence: Mapped,
    walk: Walk,
    coder: SampleAdaptive,
    dynamic_range: int,
    inline: InlineLimits,
    limits: NDArray[np.int64],
) -> bytes:
    """The body without its final fill."""
    longest = coder.unary_length_limit + dynamic_range
    words = np.empty((len(sequence) * longest + limits.shape[0] * int(inline.widths.sum())) // 32 + 2, np.uint32)
    bits = _encode(
        sequence,
        words,
        initial_accumulators(coder, dynamic_range, walk.bands),
        walk.lines,
        walk.samples,
        walk.bands,
        walk.depth,
        coder.unary_length_limit,
        coder.rescaling_counter_size,
        coder.initial_count_exponent,
        dynamic_range,
        limits,
        inline.widths,
        inline.period,
    )
    return octets_from_words(words, bits)


def decode(
    octets: bytes, walk: Walk, coder: SampleAdaptive, dynamic_range: int, inline: InlineLimits
) -> tuple[Mapped, NDArray[np.int64], int]:
    """Indices in encoding order, inline error limits (update, value), and the bits they took.

    Raises:
        DecodeError: the body ends early, or an index has more than D bits.
    """
    size = walk.lines * walk.samples * walk.bands
    if size > 8 * len(octets):
        raise DecodeError(
            f"{size} samples do not fit a body of {len(octets)} octets; the header or the body is damaged"
        )
    sequence = np.empty(size, np.uint32)
    limits = np.empty((inline.rows(walk.lines), inline.columns), np.int64)
    bits = _decode(
        words_from_octets(octets),
        8 * len(octets) + 64,
        sequence,
        initial_accumulators(coder, dynamic_range, walk.bands),
        walk.lines,
        walk.samples,
        walk.bands,
        walk.depth,
        coder.unary_length_limit,
        coder.rescaling_counter_size,
        coder.initial_count_exponent,
        dynamic_range,
        limits,
        inline.widths,
        inline.period,
    )
    if bits == TRUNCATED:
        raise DecodeError("the body ends before its last sample; it is damaged or incomplete")
    if bits == TOO_LARGE:
        raise DecodeError(f"an index has more than {dynamic_range} bits; the body is damaged")
    return sequence, limits, bits


@kernel
def counter_at(t: int, first: int, initial_exponent: int, size: int) -> int:
    """Γ(t), eqs. (57) and (61) or (63) and (65), in closed form.

    Args:
        t: at least `first`.
        first: the t for which Γ is 2^γ0.
        initial_exponent: γ0.
        size: γ*; from 2^γ* − 1 the counter goes back to 2^(γ* − 1).
    """
    steps = t - first + (1 << initial_exponent)
    if steps < 1 << size:
        return steps
    half = 1 << (size - 1)
    return half + (steps - 2 * half) % half


@kernel
def _code_index(accumulator: int, counter: int, counter_width: int, largest: int) -> int:
    """k_z(t), eq. (62): the largest k ≤ D − 2 with Γ 2^k ≤ Σ + ⌊49 Γ / 2^7⌋, or 0.

    The lengths of both sides give k or k + 1.
    """
    bound = accumulator + ((49 * counter) >> 7)
    k = max(64 - leading_zeros(bound) - counter_width, 0)
    if counter << k > bound:
        k -= 1
    return min(max(k, 0), largest)


@kernel
def _encode(
    sequence: Mapped,
    words: Words,
    accumulators: Integers,
    lines: int,
    samples: int,
    bands: int,
    depth: int,
    unary_limit: int,
    counter_size: int,
    initial_exponent: int,
    dynamic_range: int,
    limits: Integers,
    limit_widths: Integers,
    period: int,
) -> int:
    position, accumulator, pending = 0, 0, 0
    at = 0
    for line in range(lines):
        if len(limit_widths) > 0 and line % period == 0:
            for column in range(len(limit_widths)):
                value = limits[line // period, column]
                position, accumulator, pending = put(words, position, accumulator, pending, value, limit_widths[column])
        for first in range(0, bands, depth):
            last = min(first + depth, bands)
            counter = counter_at(max(line * samples, 1), 1, initial_exponent, counter_size)
            for sample in range(samples):
                if line == 0 and sample == 0:
                    for _ in range(first, last):
                        value = signed(sequence[at])
                        at += 1
                        position, accumulator, pending = put(
                            words, position, accumulator, pending, value, dynamic_range
                        )
                    continue
                rescale = counter == (1 << counter_size) - 1
                counter_width = 64 - leading_zeros(counter)
                for band in range(first, last):
                    value = signed(sequence[at])
                    at += 1
                    statistic = accumulators[band]
                    k = _code_index(statistic, counter, counter_width, dynamic_range - 2)
                    quotient = value >> k
                    one_and_rest = (1 << k) | (value & ((1 << k) - 1))
                    if quotient + 1 + k <= 32 and quotient < unary_limit:
                        position, accumulator, pending = put(
                            words, position, accumulator, pending, one_and_rest, quotient + 1 + k
                        )
                    elif quotient < unary_limit:
                        position, accumulator, pending = put(words, position, accumulator, pending, 0, quotient)
                        position, accumulator, pending = put(words, position, accumulator, pending, one_and_rest, 1 + k)
                    else:
                        position, accumulator, pending = put(words, position, accumulator, pending, 0, unary_limit)
                        position, accumulator, pending = put(
                            words, position, accumulator, pending, value, dynamic_range
                        )
                    statistic += value
                    accumulators[band] = (statistic + 1) >> 1 if rescale else statistic
                counter = (counter + 1) >> 1 if rescale else counter + 1
    words[position] = np.uint32((accumulator << (32 - pending)) & 0xFFFFFFFF)
    return 32 * position + pending


@kernel
def _decode(
    words: Window,
    bits: int,
    sequence: Mapped,
    accumulators: Integers,
    lines: int,
    samples: int,
    bands: int,
    depth: int,
    unary_limit: int,
    counter_size: int,
    initial_exponent: int,
    dynamic_range: int,
    limits: Integers,
    limit_widths: Integers,
    period: int,
) -> int:
    """Bits read, or TRUNCATED, or TOO_LARGE; `bits` is where they end, the first being bit 64."""
    position = 64
    at = 0
    for line in range(lines):
        if len(limit_widths) > 0 and line % period == 0:
            for column in range(len(limit_widths)):
                limits[line // period, column] = take(words, position, limit_widths[column])
                position += limit_widths[column]
                if position > bits:
                    return TRUNCATED
        for first in range(0, bands, depth):
            last = min(first + depth, bands)
            counter = counter_at(max(line * samples, 1), 1, initial_exponent, counter_size)
            for sample in range(samples):
                if line == 0 and sample == 0:
                    for _ in range(first, last):
                        sequence[at] = np.uint32(take(words, position, dynamic_range))
                        at += 1
                        position += dynamic_range
                        if position > bits:
                            return TRUNCATED
                    continue
                rescale = counter == (1 << counter_size) - 1
                counter_width = 64 - leading_zeros(counter)
                for band in range(first, last):
                    statistic = accumulators[band]
                    k = _code_index(statistic, counter, counter_width, dynamic_range - 2)
                    ahead = window(words, position)
                    quotient = leading_zeros(ahead)
                    if quotient < unary_limit:
                        # The one and the k bits behind it; quotient ≤ 31 and k ≤ 30, so the shift is positive.
                        one_and_rest = signed(ahead >> np.uint64(63 - quotient - k))
                        value = ((quotient - 1) << k) + one_and_rest
                        position += quotient + 1 + k
                        if value >> dynamic_range:
                            return TOO_LARGE
                    else:
                        value = signed((ahead << np.uint64(unary_limit)) >> np.uint64(64 - dynamic_range))
                        position += unary_limit + dynamic_range
                    if position > bits:
                        return TRUNCATED
                    sequence[at] = np.uint32(value)
                    at += 1
                    statistic += value
                    accumulators[band] = (statistic + 1) >> 1 if rescale else statistic
                counter = (counter + 1) >> 1 if rescale else counter + 1
    return position - 64
