"""Hybrid entropy coder, CCSDS 123.0-B-2, 5.4.3.3.

Where a band's indices are large on average, each is a reversed Golomb-power-of-2 codeword of its own; where they are
small, it joins one of sixteen codes whose words stand for many indices. Such a word is only written when its last
index is known, so the decoder reads everything backwards, from the final statistics that the tail carries. Unlike the
sample-adaptive coder's, the statistic that picks the code of δ_z(t) includes δ_z(t), four times.
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
    trailing_zeros,
    window,
    words_from_octets,
)
from ccsds123.bit_string import BitReader
from ccsds123.encoding_order import InlineLimits, Mapped, Walk
from ccsds123.kernel import Integers, kernel, signed
from ccsds123.low_entropy_codes import CODES, DIRECT_BITS, LONGEST_INPUT, low_entropy_codes
from ccsds123.parameters import Hybrid
from ccsds123.sample_adaptive import counter_at

DAMAGED = -1


def encode(
    sequence: Mapped,
    walk: Walk,
    coder: Hybrid,
    dynamic_range: int,
    inline: InlineLimits,
    limits: NDArray[np.int64],
) -> bytes:
    """The body without its final fill."""
    codes = low_entropy_codes()
    accumulators = np.array(np.broadcast_to(np.array(coder.initial_accumulators, np.int64), walk.bands))
    accumulator_width = 2 + dynamic_range + coder.rescaling_counter_size
    # A sample gives at most a rescaling bit, an output word and an escaped residual.
    longest = 1 + int(codes.width.max()) + coder.unary_length_limit + dynamic_range
    tail = int(codes.width.max()) * CODES + walk.bands * accumulator_width + 1
    bits = len(sequence) * longest + limits.shape[0] * int(inline.widths.sum()) + tail
    words = np.empty(bits // 32 + 2, np.uint32)
    return octets_from_words(
        words,
        _encode(
            sequence,
            words,
            accumulators,
            accumulator_width,
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
            codes.thresholds,
            codes.limits,
            codes.roots,
            codes.children,
            codes.leaf,
            codes.word,
            codes.width,
        ),
    )


def decode(
    octets: bytes, walk: Walk, coder: Hybrid, dynamic_range: int, inline: InlineLimits
) -> tuple[Mapped, NDArray[np.int64], int]:
    """Indices in encoding order, inline error limits (update, value), and the bits they took.

    Raises:
        DecodeError: the tail is not there, or reading backwards does not end where the body begins.
    """
    codes = low_entropy_codes()
    size = walk.lines * walk.samples * walk.bands
    if size > LONGEST_INPUT * (8 * len(octets) + CODES):
        raise DecodeError(
            f"{size} samples do not fit a body of {len(octets)} octets; the header or the body is damaged"
        )
    accumulators, active, bits, position = _read_tail(octets, walk.bands, coder, dynamic_range)
    sequence = np.empty(size, np.uint32)
    limits = np.empty((inline.rows(walk.lines), inline.columns), np.int64)
    begin = _decode(
        words_from_octets(octets),
        position,
        sequence,
        accumulators,
        2 + dynamic_range + coder.rescaling_counter_size,
        active,
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
        codes.thresholds,
        codes.limits,
        codes.roots,
        codes.parents,
        codes.symbols,
        codes.width,
        codes.direct,
        codes.second,
    )
    if begin != 0 or not np.array_equal(active, codes.roots):
        raise DecodeError("the body read backwards does not end at its beginning; it is damaged or incomplete")
    return sequence, limits, bits


def _read_tail(
    octets: bytes, bands: int, coder: Hybrid, dynamic_range: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], int, int]:
    """Compressed image tail, 5.4.3.3.5.4.

    Returns:
        The final Σ̃_z, each code's active prefix, the bits of the body, and where the tail begins.
    """
    codes = low_entropy_codes()
    content = octets.rstrip(b"\0")
    if not content:
        raise DecodeError("the body has no end marker; it is damaged or incomplete")
    marker = 8 * len(content) - 1 - trailing_zeros(content[-1])
    width = 2 + dynamic_range + coder.rescaling_counter_size
    position = marker - bands * width
    if position < 0:
        raise DecodeError("the body is shorter than its tail; it is damaged or incomplete")
    bits = BitReader(octets)
    bits.skip(position)
    accumulators = np.array([bits.get(width) for _ in range(bands)], np.int64)
    active = np.empty(CODES, np.int32)
    for code in reversed(range(CODES)):
        for length in range(1, min(int(codes.width.max()), position) + 1):
            begin = BitReader(octets)
            begin.skip(position - length)
            node = codes.flush[code].get((length, begin.get(length)))
            if node is not None:
                active[code] = node
                position -= length
                break
        else:
            raise DecodeError(f"no flush word of low-entropy code {code}; the body is damaged or incomplete")
    return accumulators, active, marker + 1, position


@kernel
def _low_entropy_code(scaled: int, counter: int, thresholds: Integers) -> int:
    """The largest code index i with Σ̃ · 2^14 < Γ T_i (5.4.3.3.5.3.1), which code 0 satisfies."""
    code = 0
    for step in (8, 4, 2, 1):
        if scaled < counter * thresholds[code + step]:
            code += step
    return code


@kernel
def _high_entropy_index(accumulator: int, counter: int, dynamic_range: int) -> int:
    """k_z(t), eq. (66): the largest k ≤ max{D − 2, 2} with Γ 2^(k + 2) ≤ Σ̃ + ⌊49 Γ / 2^5⌋."""
    bound = accumulator + ((49 * counter) >> 5)
    k = leading_zeros(counter) - leading_zeros(bound) - 2
    if counter << (k + 2) > bound:
        k -= 1
    return min(k, max(dynamic_range - 2, 2))


@kernel
def _put_reversed(
    words: Words,
    position: int,
    accumulator: int,
    pending: int,
    value: int,
    k: int,
    unary_limit: int,
    dynamic_range: int,
) -> tuple[int, int, int]:
    """Append ℜ′_k(value), 5.4.3.3.3.2: the rest, a one, the quotient in zeros; or D bits and U_max zeros."""
    quotient = value >> k
    if quotient < unary_limit:
        rest_and_one = (value & ((1 << k) - 1)) << 1 | 1
        if quotient + 1 + k <= 32:
            return put(words, position, accumulator, pending, rest_and_one << quotient, quotient + 1 + k)
        position, accumulator, pending = put(words, position, accumulator, pending, rest_and_one, k + 1)
        return put(words, position, accumulator, pending, 0, quotient)
    position, accumulator, pending = put(words, position, accumulator, pending, value, dynamic_range)
    return put(words, position, accumulator, pending, 0, unary_limit)


@kernel
def _encode(
    sequence: Mapped,
    words: Words,
    accumulators: Integers,
    accumulator_width: int,
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
    thresholds: Integers,
    symbol_limits: Integers,
    roots: Integers,
    children: Integers,
    leaf: Integers,
    word: Integers,
    width: Integers,
) -> int:
    active = roots.copy()
    position, accumulator, pending = 0, 0, 0
    at = 0
    for line in range(lines):
        if len(limit_widths) > 0 and line % period == 0:
            for column in range(len(limit_widths)):
                value = limits[line // period, column]
                position, accumulator, pending = put(words, position, accumulator, pending, value, limit_widths[column])
        for first in range(0, bands, depth):
            last = min(first + depth, bands)
            counter = counter_at(max(line * samples - 1, 0), 0, initial_exponent, counter_size)
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
                counter = (counter + 1) >> 1 if rescale else counter + 1
                for band in range(first, last):
                    value = signed(sequence[at])
                    at += 1
                    statistic = accumulators[band]
                    if rescale:
                        position, accumulator, pending = put(words, position, accumulator, pending, statistic & 1, 1)
                        statistic = (statistic + 4 * value + 1) >> 1
                    else:
                        statistic += 4 * value
                    accumulators[band] = statistic
                    scaled = statistic << 14
                    if scaled >= counter * thresholds[0]:
                        position, accumulator, pending = _put_reversed(
                            words,
                            position,
                            accumulator,
                            pending,
                            value,
                            _high_entropy_index(statistic, counter, dynamic_range),
                            unary_limit,
                            dynamic_range,
                        )
                        continue
                    code = _low_entropy_code(scaled, counter, thresholds)
                    symbol = value
                    if value > symbol_limits[code]:
                        symbol = symbol_limits[code] + 1
                        position, accumulator, pending = _put_reversed(
                            words, position, accumulator, pending, value - symbol, 0, unary_limit, dynamic_range
                        )
                    node = signed(children[active[code], symbol])
                    if leaf[node]:
                        position, accumulator, pending = put(
                            words, position, accumulator, pending, word[node], width[node]
                        )
                        node = signed(roots[code])
                    active[code] = node
    for code in range(len(roots)):
        node = signed(active[code])
        position, accumulator, pending = put(words, position, accumulator, pending, word[node], width[node])
    for band in range(bands):
        high = accumulators[band] >> 30
        low = accumulators[band] & ((1 << 30) - 1)
        first_width = max(accumulator_width - 30, 0)
        position, accumulator, pending = put(words, position, accumulator, pending, high, first_width)
        position, accumulator, pending = put(
            words, position, accumulator, pending, low, accumulator_width - first_width
        )
    position, accumulator, pending = put(words, position, accumulator, pending, 1, 1)
    words[position] = np.uint32((accumulator << (32 - pending)) & 0xFFFFFFFF)
    return 32 * position + pending


@kernel
def _take_reversed(tail: int, k: int, unary_limit: int, dynamic_range: int) -> tuple[int, int]:
    """The value of the codeword ℜ′_k that ends a window, and its width."""
    quotient = trailing_zeros(tail)
    if quotient < unary_limit:
        rest = signed(tail >> np.uint64(quotient + 1)) & ((1 << k) - 1)
        return (quotient << k) | rest, quotient + 1 + k
    value = signed(tail >> np.uint64(unary_limit)) & ((1 << dynamic_range) - 1)
    return value, unary_limit + dynamic_range


@kernel
def _decode(
    words: Window,
    position: int,
    sequence: Mapped,
    accumulators: Integers,
    accumulator_width: int,
    active: Integers,
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
    thresholds: Integers,
    symbol_limits: Integers,
    roots: Integers,
    parents: Integers,
    symbols: Integers,
    output_width: Integers,
    direct: Integers,
    second: Integers,
) -> int:
    """Bits left before the first sample, 0 for an intact body, or DAMAGED."""
    at = len(sequence)
    groups = (bands + depth - 1) // depth
    for line in range(lines - 1, -1, -1):
        for group in range(groups - 1, -1, -1):
            first = group * depth
            last = min(first + depth, bands)
            counter = counter_at(line * samples + samples - 1, 0, initial_exponent, counter_size)
            for sample in range(samples - 1, -1, -1):
                if line == 0 and sample == 0:
                    for _ in range(first, last):
                        at -= 1
                        tail = window(words, position)
                        sequence[at] = np.uint32(signed(tail) & ((1 << dynamic_range) - 1))
                        position -= dynamic_range
                        if position < 0:
                            return DAMAGED
                    continue
                # Γ(t − 1), which tells whether Σ̃ was halved on the way to t.
                before = counter_at(line * samples + sample - 1, 0, initial_exponent, counter_size)
                rescale = before == (1 << counter_size) - 1
                for band in range(last - 1, first - 1, -1):
                    statistic = accumulators[band]
                    scaled = statistic << 14
                    # Up to 64 bits before the position are at hand, and one codeword never needs more.
                    tail = window(words, position)
                    if scaled >= counter * thresholds[0]:
                        k = _high_entropy_index(statistic, counter, dynamic_range)
                        value, width = _take_reversed(tail, k, unary_limit, dynamic_range)
                        position -= width
                    else:
                        code = _low_entropy_code(scaled, counter, thresholds)
                        node = signed(active[code])
                        if node == roots[code]:
                            node = signed(direct[code, signed(tail) & ((1 << DIRECT_BITS) - 1)])
                            if node < 0:
                                longer = signed(tail >> np.uint64(DIRECT_BITS)) & (second.shape[1] - 1)
                                node = signed(second[-1 - node, longer])
                            position -= output_width[node]
                            if position < 0:
                                return DAMAGED
                        value = signed(symbols[node])
                        active[code] = parents[node]
                        if value > symbol_limits[code]:
                            residual, width = _take_reversed(window(words, position), 0, unary_limit, dynamic_range)
                            value += residual
                            position -= width
                    if position < 0 or value >> dynamic_range:
                        return DAMAGED
                    if rescale:
                        # 2Σ̃(t) is Σ̃(t − 1) + 4δ rounded up to even; its lost bit is written before δ.
                        statistic = 2 * statistic - (signed(window(words, position)) & 1)
                        position -= 1
                    statistic -= 4 * value
                    if position < 0 or statistic < 0 or statistic >> accumulator_width:
                        return DAMAGED
                    accumulators[band] = statistic
                    at -= 1
                    sequence[at] = np.uint32(value)
                counter = before
        if len(limit_widths) > 0 and line % period == 0:
            for column in range(len(limit_widths) - 1, -1, -1):
                limits[line // period, column] = signed(window(words, position)) & ((1 << limit_widths[column]) - 1)
                position -= limit_widths[column]
                if position < 0:
                    return DAMAGED
    return position
