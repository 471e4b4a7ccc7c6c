"""Inflates zlib streams (RFC 1950) from outside, and never to more octets than allowed."""

from __future__ import annotations

import zlib

from hyvic_runtime.errors import DecodeError


def inflate(octets: bytes, *, most: int, of: str) -> bytes:
    """Return the inflated octets of a zlib stream.

    Args:
        octets: the stream, with nothing after it.
        most: largest allowed number of inflated octets.
        of: name of the content, for messages.

    Raises:
        DecodeError: the stream is invalid, holds more octets, or has octets after its end.
    """
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(octets, most)
    except zlib.error as error:
        raise DecodeError(f"{of} does not inflate ({error})") from error
    if not inflate.eof or inflate.unused_data:
        raise DecodeError(f"{of} is not one whole zlib stream of at most {most} inflated octets")
    return data
