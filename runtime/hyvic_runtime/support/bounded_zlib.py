"""zlib streams (RFC 1950) from outside, inflate no farther than they may reach."""

from __future__ import annotations

import zlib

from hyvic_runtime.errors import DecodeError


def inflate(octets: bytes, *, most: int, of: str) -> bytes:
    """What was compressed, and nothing behind it.

    Args:
        octets: of the stream.
        most: octets that it may hold, whatever it announces.
        of: what it is, for messages.

    Raises:
        DecodeError: it holds more, or is none.
    """
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(octets, most)
    except zlib.error as error:
        raise DecodeError(f"{of} does not inflate ({error})") from error
    if not inflate.eof or inflate.unused_data:
        raise DecodeError(f"{of} is longer or shorter than what it holds")
    return data
