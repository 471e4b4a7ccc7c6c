"""Hybrid entropy coder, CCSDS 123.0-B-2, 5.4.3.3.

Where a band's indices are large on average, each is a reversed Golomb-power-of-2 codeword of its own. Where they are
small, an index joins one of sixteen codes whose words stand for many indices. Such a word is written only when its last
index is known. So the decoder reads everything backwards, from the final statistics that the tail carries. Unlike the
sample-adaptive coder's, the statistic that picks the code of δ_z(t) includes δ_z(t), four times.
"""

from __future__ import annotations

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
    trailing_zeros,
    window,
    words_from_octets,
)
from ccsds123.bit_string import BitReader
from ccsds123.encoding_order import EncodingLoops, Limits, Mapped
from ccsds123.entropy_coders import Hybrid
from ccsds123.kernel import Integers, kernel, signed
from ccsds123.low_entropy_codes import (
    CODES,
    DIRECT_BITS,
    LONGEST_INPUT,
    LowEntropyCodes,
    flush_nodes,
    low_entropy_codes,
)
from ccsds123.sample_adaptive import CodeLimits, code_limits, counter_at, put_limits

DAMAGED = -1


def encode(sequence: Mapped, loops: EncodingLoops, coder: Hybrid, dynamic_range: int, limits: Limits) -> bytes:
    """Return the body without its final fill."""
    codes = low_entropy_codes()
    accumulators = np.array(np.broadcast_to(np.array(coder.initial_accumulators, np.int64), loops.bands))
    # A sample gives at most a rescaling bit, an output word and an escaped residual.
    longest = 1 + int(codes.width.max()) + coder.unary_length_limit + dynamic_range
    tail = int(codes.width.max()) * CODES + loops.bands * _accumulator_width(coder, dynamic_range) + 1
    bits = len(sequence) * longest + limits.shape[0] * int(loops.limit_widths.sum()) + tail
    words = np.empty(bits // 32 + 2, np.uint32)
    place = _encode(sequence, words, accumulators, loops, code_limits(coder, dynamic_range), limits, codes)
    return octets_from_words(words, place)


def decode(octets: bytes, loops: EncodingLoops, coder: Hybrid, dynamic_range: int) -> tuple[Mapped, Limits, int]:
    """Return indices in encoding order, inline error limits (update, value), and the bits read.

    Raises:
        DecodeError: the tail is missing, or reading backwards does not end where the body begins.
    """
    codes = low_entropy_codes()
    size = loops.size
    if size > LONGEST_INPUT * (8 * len(octets) + CODES):
        raise DecodeError(
            f"{size} samples do not fit a body of {len(octets)} octets; the header or the body is damaged"
        )
    accumulators, active, bits, position = _read_tail(octets, loops.bands, coder, dynamic_range)
    sequence = np.empty(size, np.uint32)
    limits = np.empty(loops.limits_shape, np.int64)
    words, code = words_from_octets(octets), code_limits(coder, dynamic_range)
    begin = _decode(words, position, sequence, accumulators, active, loops, code, limits, codes)
    if begin != 0 or not np.array_equal(active, codes.roots):
        raise DecodeError("the body read backwards does not end at its beginning; it is damaged or incomplete")
    return sequence, limits, bits


def _accumulator_width(coder: Hybrid, dynamic_range: int) -> int:
    """Return the bits of a final Σ̃_z in the tail, 5.4.3.3.5.4.3."""
    return 2 + dynamic_range + coder.rescaling_counter_size


def _read_tail(
    octets: bytes, bands: int, coder: Hybrid, dynamic_range: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], int, int]:
    """Read the compressed image tail, 5.4.3.3.5.4.

    Returns:
        The final Σ̃_z, each code's active prefix, the bits of the body, and where the tail begins.
    """
    codes = low_entropy_codes()
    content = octets.rstrip(b"\0")
    if not content:
        raise DecodeError("the body has no end marker; it is damaged or incomplete")
    marker = 8 * len(content) - 1 - trailing_zeros(content[-1])
    width = _accumulator_width(coder, dynamic_range)
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
            node = flush_nodes()[code].get((length, begin.get(length)))
            if node is not None:
                active[code] = node
                position -= length
                break
        else:
            raise DecodeError(f"no flush word of low-entropy code {code}; the body is damaged or incomplete")
    return accumulators, active, marker + 1, position


@kernel
def _low_entropy_code(scaled: int, counter: int, thresholds: Integers) -> int:
    """Return the largest code index i with Σ̃ · 2^14 < Γ T_i (5.4.3.3.5.3.1), which code 0 satisfies."""
    code = 0
    for step in (8, 4, 2, 1):
        if scaled < counter * thresholds[code + step]:
            code += step
    return code


@kernel
def _high_entropy_index(accumulator: int, counter: int, dynamic_range: int) -> int:
    """Return k_z(t), eq. (66): the largest k ≤ max{D − 2, 2} with Γ 2^(k + 2) ≤ Σ̃ + ⌊49 Γ / 2^5⌋."""
    bound = accumulator + ((49 * counter) >> 5)
    k = leading_zeros(counter) - leading_zeros(bound) - 2
    if counter << (k + 2) > bound:
        k -= 1
    return min(k, max(dynamic_range - 2, 2))


@kernel
def _put_reversed(words: Words, place: Place, value: int, k: int, code: CodeLimits) -> Place:
    """Append ℜ′_k(value), 5.4.3.3.3.2: the rest, a one, the quotient in zeros; or D bits and U_max zeros."""
    quotient = value >> k
    if quotient < code.unary:
        rest_and_one = (value & ((1 << k) - 1)) << 1 | 1
        if quotient + 1 + k <= 32:
            return put(words, place, rest_and_one << quotient, quotient + 1 + k)
        place = put(words, place, rest_and_one, k + 1)
        return put(words, place, 0, quotient)
    place = put(words, place, value, code.dynamic_range)
    return put(words, place, 0, code.unary)


@kernel
def _encode(
    sequence: Mapped,
    words: Words,
    accumulators: Integers,
    loops: EncodingLoops,
    code: CodeLimits,
    limits: Integers,
    tables: LowEntropyCodes,
) -> Place:
    active = tables.roots.copy()
    place, at = BEGIN, 0
    for line in range(loops.lines):
        if len(loops.limit_widths) > 0 and line % loops.limit_period == 0:
            place = put_limits(words, place, limits[line // loops.limit_period], loops.limit_widths)
        for first in range(0, loops.bands, loops.depth):
            last = min(first + loops.depth, loops.bands)
            counter = counter_at(max(line * loops.samples - 1, 0), 0, code)
            for sample in range(loops.samples):
                if line == 0 and sample == 0:
                    for _ in range(first, last):
                        place = put(words, place, signed(sequence[at]), code.dynamic_range)
                        at += 1
                    continue
                rescale = counter == (1 << code.counter_size) - 1
                counter = (counter + 1) >> 1 if rescale else counter + 1
                for band in range(first, last):
                    value = signed(sequence[at])
                    at += 1
                    statistic = accumulators[band]
                    if rescale:
                        place = put(words, place, statistic & 1, 1)
                        statistic = (statistic + 4 * value + 1) >> 1
                    else:
                        statistic += 4 * value
                    accumulators[band] = statistic
                    scaled = statistic << 14
                    if scaled >= counter * tables.thresholds[0]:
                        k = _high_entropy_index(statistic, counter, code.dynamic_range)
                        place = _put_reversed(words, place, value, k, code)
                        continue
                    index = _low_entropy_code(scaled, counter, tables.thresholds)
                    symbol = value
                    if value > tables.limits[index]:
                        symbol = tables.limits[index] + 1
                        place = _put_reversed(words, place, value - symbol, 0, code)
                    node = signed(tables.children[active[index], symbol])
                    if tables.leaf[node]:
                        place = put(words, place, tables.word[node], tables.width[node])
                        node = signed(tables.roots[index])
                    active[index] = node
    for index in range(len(tables.roots)):
        node = signed(active[index])
        place = put(words, place, tables.word[node], tables.width[node])
    high_width = max(2 + code.dynamic_range + code.counter_size - 30, 0)
    low_width = 2 + code.dynamic_range + code.counter_size - high_width
    for band in range(loops.bands):
        high = accumulators[band] >> 30
        low = accumulators[band] & ((1 << 30) - 1)
        place = put(words, place, high, high_width)
        place = put(words, place, low, low_width)
    return put(words, place, 1, 1)


@kernel
def _take_reversed(tail: int, k: int, code: CodeLimits) -> tuple[int, int]:
    """Return the value of the codeword ℜ′_k that ends a window, and its width."""
    quotient = trailing_zeros(tail)
    if quotient < code.unary:
        rest = signed(tail >> np.uint64(quotient + 1)) & ((1 << k) - 1)
        return (quotient << k) | rest, quotient + 1 + k
    value = signed(tail >> np.uint64(code.unary)) & ((1 << code.dynamic_range) - 1)
    return value, code.unary + code.dynamic_range


@kernel
def _decode(
    words: Window,
    position: int,
    sequence: Mapped,
    accumulators: Integers,
    active: Integers,
    loops: EncodingLoops,
    code: CodeLimits,
    limits: Integers,
    tables: LowEntropyCodes,
) -> int:
    """Return the bits left before the first sample, 0 for an intact body, or DAMAGED."""
    at = len(sequence)
    groups = (loops.bands + loops.depth - 1) // loops.depth
    accumulator_width = 2 + code.dynamic_range + code.counter_size
    for line in range(loops.lines - 1, -1, -1):
        for group in range(groups - 1, -1, -1):
            first = group * loops.depth
            last = min(first + loops.depth, loops.bands)
            counter = counter_at(line * loops.samples + loops.samples - 1, 0, code)
            for sample in range(loops.samples - 1, -1, -1):
                if line == 0 and sample == 0:
                    for _ in range(first, last):
                        at -= 1
                        tail = window(words, position)
                        sequence[at] = np.uint32(signed(tail) & ((1 << code.dynamic_range) - 1))
                        position -= code.dynamic_range
                        if position < 0:
                            return DAMAGED
                    continue
                # Γ(t − 1) tells whether Σ̃ was halved on the way to t.
                before = counter_at(line * loops.samples + sample - 1, 0, code)
                rescale = before == (1 << code.counter_size) - 1
                for band in range(last - 1, first - 1, -1):
                    statistic = accumulators[band]
                    scaled = statistic << 14
                    # Up to 64 bits before the position are at hand, and one codeword never needs more.
                    tail = window(words, position)
                    if scaled >= counter * tables.thresholds[0]:
                        k = _high_entropy_index(statistic, counter, code.dynamic_range)
                        value, width = _take_reversed(tail, k, code)
                        position -= width
                    else:
                        index = _low_entropy_code(scaled, counter, tables.thresholds)
                        node = signed(active[index])
                        if node == tables.roots[index]:
                            node = signed(tables.direct[index, signed(tail) & ((1 << DIRECT_BITS) - 1)])
                            if node < 0:
                                longer = signed(tail >> np.uint64(DIRECT_BITS)) & (tables.second.shape[1] - 1)
                                node = signed(tables.second[-1 - node, longer])
                            position -= tables.width[node]
                            if position < 0:
                                return DAMAGED
                        value = signed(tables.symbols[node])
                        active[index] = tables.parents[node]
                        if value > tables.limits[index]:
                            residual, width = _take_reversed(window(words, position), 0, code)
                            value += residual
                            position -= width
                    if position < 0 or value >> code.dynamic_range:
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
        if len(loops.limit_widths) > 0 and line % loops.limit_period == 0:
            for column in range(len(loops.limit_widths) - 1, -1, -1):
                width = loops.limit_widths[column]
                limits[line // loops.limit_period, column] = signed(window(words, position)) & ((1 << width) - 1)
                position -= width
                if position < 0:
                    return DAMAGED
    return position
