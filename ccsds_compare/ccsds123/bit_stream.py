"""Bits of a body, most significant first, inside compiled loops.

Writing collects bits in a 64-bit accumulator and stores 32 bits at a time. Reading looks at 64 bits from any position.
Spare words of zeros lie around the octets to read. So a position may pass either end by the 64 bits of the longest
codeword before the caller compares it with the number of bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ccsds123.kernel import kernel, signed

SPARE_WORDS = 3

Words = NDArray[np.uint32]
Window = NDArray[np.uint64]
Place = tuple[int, int, int]
"""Words stored so far; accumulator, whose last bits wait to be stored; number of these bits, 0..31."""
BEGIN: Place = (0, 0, 0)


def _leading(typing_context: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], context.get_constant(types.boolean, False))

    return types.uint64(types.uint64), code


def _trailing(typing_context: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, False))

    return types.uint64(types.uint64), code


# Processors count zeros in one instruction that numba has no name for. False: the count for 0 is defined.
_count_leading_zeros: Any = intrinsic(_leading)
_count_trailing_zeros: Any = intrinsic(_trailing)


@kernel
def leading_zeros(value: int) -> int:
    """Return the number of zeros before the first one of a 64-bit value; 64 for 0."""
    return signed(_count_leading_zeros(np.uint64(value)))


@kernel
def trailing_zeros(value: int) -> int:
    """Return the number of zeros after the last one of a 64-bit value; 64 for 0."""
    return signed(_count_trailing_zeros(np.uint64(value)))


@kernel
def put(words: Words, place: Place, value: int, width: int) -> Place:
    """Append 0 to 32 bits.

    Args:
        words: output.
        place: BEGIN, or what the last call returned.
        value: below 2^width.
        width: 0..32.

    Returns:
        The place after these bits.
    """
    position, accumulator, pending = place
    accumulator = (accumulator << width) | value
    pending += width
    # Whether a word is full is as good as random, so it is stored in any case; a word that is not full is overwritten.
    words[position] = np.uint32((accumulator >> (pending & 31)) & 0xFFFFFFFF)
    return position + (pending >> 5), accumulator, pending & 31


@kernel
def window(words: Window, position: int) -> int:
    """Return the 64 bits from a position on, as an unsigned word."""
    index, shift = position >> 6, np.uint64(position & 63)
    first: Any = words[index]
    following: Any = words[index + 1]
    bits: int = (first << shift) | ((following >> np.uint64(1)) >> (np.uint64(63) - shift))
    return bits


@kernel
def take(words: Window, position: int, width: int) -> int:
    """Return the 1 to 63 bits from a position on."""
    return signed(window(words, position) >> np.uint64(64 - width))


def octets_from_words(words: Words, place: Place) -> bytes:
    """Return the bits before a place as whole octets, with zeros after them."""
    position, accumulator, pending = place
    words[position] = (accumulator << (32 - pending)) & 0xFFFFFFFF
    return words[: position + 1].astype(">u4").tobytes()[: 4 * position + -(-pending // 8)]


def words_from_octets(octets: bytes) -> Window:
    """Return words to read, with spare words of zeros before and after: bit n of the octets is bit 64 + n."""
    padded = bytes(8) + octets + bytes(-len(octets) % 8 + 8 * SPARE_WORDS)
    return np.frombuffer(padded, ">u8").astype(np.uint64)
