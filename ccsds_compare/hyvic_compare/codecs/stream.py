"""Frame of the baselines' streams: shape and type of the cube, and a checksum.

    octets  0-1   "HC"
            2     format version, 1
            3     codec, StreamKind
            4     sample type: index into SUPPORTED_DTYPES
            5-8   lines      9-12  samples      13-14  bands      big-endian
            15…   payload of the codec
            last 4        CRC-32 (zlib's) of all before it

JPEG 2000 and PCA have no checksum of their own; without one, a flipped bit would silently give a wrong picture.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.scene.scene import SUPPORTED_DTYPES, Cube

_HEADER = struct.Struct(">2sBBBIIH")
_CHECKSUM = struct.Struct(">I")
_LENGTH = struct.Struct(">I")
LENGTH_OCTETS = _LENGTH.size
_MAGIC, _VERSION = b"HC", 1
FRAME_OCTETS = _HEADER.size + _CHECKSUM.size
MAX_SAMPLES = 2**31
"""Largest cube that a decoder allocates: 4 GB of 16-bit samples."""


class StreamKind(IntEnum):
    """Codec that wrote a stream."""

    JPEG2000 = 1
    JPEG2000_PER_BAND = 2
    PCA = 3
    PCA_JPEG2000 = 4
    JPEG_LS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeType:
    """Shape and sample type of a cube.

    Attributes:
        lines: at least 1.
        samples: at least 1.
        bands: 1..65535.
        dtype: one of SUPPORTED_DTYPES.
    """

    lines: int
    samples: int
    bands: int
    dtype: np.dtype[np.integer[Any]]

    @classmethod
    def of(cls, cube: Cube) -> CubeType:
        lines, samples, bands = cube.shape
        if bands > 0xFFFF:
            raise ValueError(f"{bands} bands; these codecs code at most 65535")
        return cls(lines=lines, samples=samples, bands=bands, dtype=cube.dtype)

    @property
    def pixels(self) -> int:
        """Spectra in the cube."""
        return self.lines * self.samples


def framed(kind: StreamKind, cube: CubeType, payload: bytes) -> bytes:
    """Return a whole stream."""
    code = SUPPORTED_DTYPES.index(cube.dtype)
    head = _HEADER.pack(_MAGIC, _VERSION, kind, code, cube.lines, cube.samples, cube.bands)
    return head + payload + _CHECKSUM.pack(zlib.crc32(head + payload))


def unframed(kind: StreamKind, stream: bytes) -> tuple[CubeType, PayloadReader]:
    """Return shape and type of the cube, and the payload.

    Raises:
        DecodeError: the stream is damaged, of another codec, or its cube is too large to be real.
    """
    if len(stream) < FRAME_OCTETS:
        raise DecodeError(f"{len(stream)} octets; a stream has at least {FRAME_OCTETS}")
    body = stream[: -_CHECKSUM.size]
    if zlib.crc32(body) != _CHECKSUM.unpack(stream[-_CHECKSUM.size :])[0]:
        raise DecodeError("the checksum does not match; the stream is damaged or cut short")
    magic, version, found, code, lines, samples, bands = _HEADER.unpack_from(body)
    if (magic, version) != (_MAGIC, _VERSION):
        raise DecodeError(f"begins with {body[:3].hex()}; this is not a stream of these codecs")
    if found != kind:
        raise DecodeError(f"was written by codec {found}; this one is {kind.value} ({kind.name})")
    if code >= len(SUPPORTED_DTYPES):
        raise DecodeError(f"sample type {code} is unknown")
    if not 1 <= lines * samples * bands <= MAX_SAMPLES:
        raise DecodeError(f"announces {lines} × {samples} × {bands} samples; 1..{MAX_SAMPLES} are possible")
    cube = CubeType(lines=lines, samples=samples, bands=bands, dtype=SUPPORTED_DTYPES[code])
    return cube, PayloadReader(body[_HEADER.size :])


def prefixed(octets: bytes) -> bytes:
    """Return octets after their length (4 octets, big-endian)."""
    return _LENGTH.pack(len(octets)) + octets


class PayloadReader:
    """Reader of a payload that checks every length first.

    >>> payload = PayloadReader(b"abc")
    >>> payload.take(2), payload.remaining
    (b'ab', 1)
    """

    def __init__(self, payload: bytes) -> None:
        self._payload = memoryview(payload)
        self._position = 0

    @property
    def remaining(self) -> int:
        """Number of octets not yet taken."""
        return len(self._payload) - self._position

    def take(self, octets: int) -> bytes:
        """Return the next octets."""
        if octets > self.remaining:
            raise DecodeError(f"need {octets} octets, got {self.remaining}")
        start, self._position = self._position, self._position + octets
        return bytes(self._payload[start : self._position])

    def take_prefixed(self) -> bytes:
        """Return the next octets that `prefixed` made."""
        return self.take(*_LENGTH.unpack(self.take(_LENGTH.size)))

    def unpack(self, layout: struct.Struct) -> tuple[int | float, ...]:
        """Return the next fields."""
        return layout.unpack(self.take(layout.size))

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.remaining:
            raise DecodeError(f"{self.remaining} octets follow the end of the stream")
