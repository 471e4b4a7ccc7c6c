"""Block-adaptive entropy coder, CCSDS 123.0-B-2, 5.4.3.4: the adaptive entropy coder of CCSDS 121.0-B-3, section 3.

The sequence, without preprocessor or reference samples, is cut into blocks of J values. Each block is coded with the
shortest of several options. Of options of equal length, the first is taken: no compression, second extension, then the
smallest k, as other encoders of this standard do. Runs of zero blocks end with each segment of 64 blocks and with each
reference sample interval.
"""

from __future__ import annotations

import numpy as np
from hyvic_runtime.errors import DecodeError

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
from ccsds123.entropy_coders import BlockAdaptive
from ccsds123.kernel import kernel, signed

SEGMENT = 64
"""Blocks in a segment (CCSDS 121.0-B-3, zero-block option)."""
REMAINDER_OF_SEGMENT = 4
"""Zeros of the codeword that says that all blocks of the segment from here on are zero."""
LARGEST_PAIR_SUM = 1 << 16
"""Sums of a pair beyond this make the second extension far longer than any other option: 2^31 bits."""
DAMAGED = -1


def encode(sequence: Mapped, loops: EncodingLoops, coder: BlockAdaptive, dynamic_range: int, limits: Limits) -> bytes:
    """Return the body without its final fill."""
    updates, columns = loops.limits_shape
    places = np.repeat(np.arange(updates) * _update_size(loops), columns)
    values = np.insert(sequence, places, limits.ravel()) if updates else sequence
    padding = np.zeros(-len(values) % coder.block_size, np.uint32)
    blocks = np.concatenate([values, padding]).reshape(-1, coder.block_size)
    words = np.empty(len(blocks) * (8 + coder.block_size * dynamic_range) // 32 + 2, np.uint32)
    identifier, interval = identifier_bits(coder, dynamic_range), coder.reference_sample_interval
    return octets_from_words(words, _encode(blocks, words, dynamic_range, identifier, interval))


def decode(octets: bytes, loops: EncodingLoops, coder: BlockAdaptive, dynamic_range: int) -> tuple[Mapped, Limits, int]:
    """Return indices in encoding order, inline error limits (update, value), and the bits read.

    Raises:
        DecodeError: the body ends early, or holds values that no encoder writes.
    """
    updates, columns = loops.limits_shape
    size = loops.size + updates * columns
    # The shortest codeword for its blocks is an identifier, a bit and the five bits for all blocks of a segment.
    identifier = identifier_bits(coder, dynamic_range)
    if size > SEGMENT * coder.block_size * (8 * len(octets) // (identifier + 2 + REMAINDER_OF_SEGMENT) + 1):
        raise DecodeError(f"{size} values do not fit a body of {len(octets)} octets; the header or the body is damaged")
    blocks = np.empty((-(-size // coder.block_size), coder.block_size), np.uint32)
    words, interval = words_from_octets(octets), coder.reference_sample_interval
    bits = _decode(words, 8 * len(octets) + 64, blocks, dynamic_range, identifier, interval)
    if bits == DAMAGED:
        raise DecodeError("a block of the body cannot be read; it is damaged or incomplete")
    values = blocks.ravel()
    if values[size:].any():
        raise DecodeError("the values that fill the last block are not zero; the body is damaged")
    places = np.arange(updates)[:, None] * (columns + _update_size(loops)) + np.arange(columns)
    limits = values[places].astype(np.int64)
    if (limits >> loops.limit_widths).any():
        raise DecodeError("an error limit has more bits than the header allows; the body is damaged")
    return np.delete(values[:size], places) if updates else values[:size], limits, bits


def _update_size(loops: EncodingLoops) -> int:
    """Return the number of indices between updates of the error limits."""
    return loops.limit_period * loops.samples * loops.bands


def identifier_bits(coder: BlockAdaptive, dynamic_range: int) -> int:
    """Return the length of a code option identifier (CCSDS 121.0-B-3, 5.1.2)."""
    if coder.restricted:
        return 1 if dynamic_range <= 2 else 2
    if dynamic_range <= 8:
        return 3
    return 4 if dynamic_range <= 16 else 5


@kernel
def _put_unary(words: Words, place: Place, zeros: int) -> Place:
    """Append zeros and a one, the fundamental sequence codeword."""
    while zeros > 31:
        place = put(words, place, 0, 31)
        zeros -= 31
    return put(words, place, 1, zeros + 1)


@kernel
def _split_index(block: Mapped, largest: int, bound: int) -> tuple[int, int]:
    """Return the smallest k of the shortest split-sample option, and its length, or −1 if it is not below `bound`.

    Each further k saves ⌈⌊δ/2^k⌋/2⌉ bits a value and costs one, so the length only falls up to its minimum.
    """
    best, shortest = -1, bound
    before = signed(1) << 62
    for k in range(largest + 1):
        length = signed(block.size * (k + 1))
        for value in block:
            length += signed(value) >> k
        if length >= before:
            break
        before = length
        if length < shortest:
            best, shortest = k, length
    return best, shortest


@kernel
def _encode(blocks: Mapped, words: Words, dynamic_range: int, identifier_bits: int, interval: int) -> Place:
    place = BEGIN
    count, size = blocks.shape
    uncompressed = (1 << identifier_bits) - 1
    zero_blocks = 0
    for number in range(count):
        block = blocks[number]
        pair_bits = signed(1)
        any_bits = np.uint32(0)
        for pair in range(0, size, 2):
            first, second = signed(block[pair]), signed(block[pair + 1])
            any_bits |= block[pair] | block[pair + 1]
            total = min(first + second, LARGEST_PAIR_SUM)
            pair_bits += ((total * (total + 1)) >> 1) + second + 1
        since_reference = number % interval
        zero = any_bits == 0
        if zero:
            zero_blocks += 1
            if (since_reference + 1) % SEGMENT != 0 and since_reference + 1 != interval and number + 1 != count:
                continue
        if zero_blocks > 0:
            place = put(words, place, 0, identifier_bits + 1)
            zeros = zero_blocks - 1
            if zero_blocks > REMAINDER_OF_SEGMENT:
                zeros = REMAINDER_OF_SEGMENT if zero else zero_blocks
            place = _put_unary(words, place, zeros)
            zero_blocks = 0
        if zero:
            continue
        bits = signed(size * dynamic_range)
        extended = pair_bits < bits
        k, bits = _split_index(block, uncompressed - 2, min(bits, pair_bits))
        if k >= 0:
            place = put(words, place, k + 1, identifier_bits)
            for value in block:
                place = _put_unary(words, place, signed(value) >> k)
            for value in block:
                rest = signed(value) & ((1 << k) - 1)
                place = put(words, place, rest, k)
        elif extended:
            place = put(words, place, 1, identifier_bits + 1)
            for pair in range(0, size, 2):
                first, second = signed(block[pair]), signed(block[pair + 1])
                total = first + second
                place = _put_unary(words, place, ((total * (total + 1)) >> 1) + second)
        else:
            place = put(words, place, uncompressed, identifier_bits)
            for value in block:
                place = put(words, place, signed(value), dynamic_range)
    return place


@kernel
def _take_unary(words: Window, position: int, bits: int) -> tuple[int, int]:
    """Return the zeros before the next one, and the position after it, which is beyond `bits` if there is no one."""
    zeros = 0
    run = leading_zeros(window(words, position))
    while run == 64 and position <= bits:
        zeros += 64
        position += 64
        run = leading_zeros(window(words, min(position, bits)))
    return zeros + run, position + run + 1


@kernel
def _decode(words: Window, bits: int, blocks: Mapped, dynamic_range: int, identifier_bits: int, interval: int) -> int:
    """Return the bits read, or DAMAGED; `bits` is where they end, the first being bit 64."""
    position = 64
    count, size = blocks.shape
    uncompressed = (1 << identifier_bits) - 1
    number = 0
    while number < count:
        if position > bits:
            return DAMAGED
        identifier = take(words, position, identifier_bits)
        position += identifier_bits
        block = blocks[number]
        if identifier == uncompressed:
            for index in range(size):
                if position > bits:
                    return DAMAGED
                block[index] = np.uint32(take(words, position, dynamic_range))
                position += dynamic_range
        elif identifier > 0:
            k = identifier - 1
            for index in range(size):
                if position > bits:
                    return DAMAGED
                quotient, position = _take_unary(words, position, bits)
                if quotient >> (dynamic_range - min(k, dynamic_range)):
                    return DAMAGED
                block[index] = np.uint32(quotient << k)
            if k > 0:
                for index in range(size):
                    if position > bits:
                        return DAMAGED
                    block[index] |= np.uint32(take(words, position, k))
                    position += k
                    if signed(block[index]) >> dynamic_range:
                        return DAMAGED
        else:
            extended = take(words, position, 1)
            position += 1
            if position > bits:
                return DAMAGED
            if extended:
                for pair in range(0, size, 2):
                    if position > bits:
                        return DAMAGED
                    code, position = _take_unary(words, position, bits)
                    # The largest total with total(total + 1)/2 ≤ code; the square root may be off by one.
                    total = signed((np.sqrt(8.0 * code + 1.0) - 1.0) / 2.0)
                    if (total * (total + 1)) >> 1 > code:
                        total -= 1
                    if ((total + 1) * (total + 2)) >> 1 <= code:
                        total += 1
                    second = code - ((total * (total + 1)) >> 1)
                    if max(total - second, second) >> dynamic_range:
                        return DAMAGED
                    block[pair] = np.uint32(total - second)
                    block[pair + 1] = np.uint32(second)
            else:
                zeros, position = _take_unary(words, position, bits)
                if zeros == REMAINDER_OF_SEGMENT:
                    since_reference = number % interval
                    run = min(SEGMENT - since_reference % SEGMENT, interval - since_reference, count - number)
                else:
                    run = zeros + (zeros < REMAINDER_OF_SEGMENT)
                if run > count - number or position > bits:
                    return DAMAGED
                blocks[number : number + run] = 0
                number += run - 1
        number += 1
    if position > bits:
        return DAMAGED
    return position - 64
