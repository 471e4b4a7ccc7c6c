"""Samples that are no measurement: marked, smoothed over before coding, and restored exactly.

A sample that holds the scene's no-data value says nothing about the ground, and a saturated one only that there was
too much light. A lossy codec would turn either into a number near it. So each tile that has some carries their places,
and the decoder puts the value back. What stands in for no-data while a tile is coded is smooth and soon nothing but the
mean spectrum, because every octet spent on it is wasted.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import DecodeError
from hyvic_runtime.scene.scene import Cube
from hyvic_runtime.support.bounded_zlib import inflate

Mask = NDArray[np.bool_]
FADING = 0.6
"""A sample farther from the next one with data, as much less does what is filled in differ from the mean spectrum.
Measured (docs/results/no-data.md): the octets of the mean alone, without its loss at the edges."""


def pack_marks(masks: Sequence[Mask]) -> bytes:
    """Octets of a marks unit.

    Args:
        masks: (line, sample, band) of one tile, one for each value that the scene header marks, in its order.
    """
    return zlib.compress(b"".join(map(_packed, masks)), 9)


def _packed(mask: Mask) -> bytes:
    """One bit a pixel that has a marked band; then 1 where all their bands are, or 0 and one bit a band of each."""
    pixels = mask.any(axis=2)
    # A line differs from the one above it at the edges of an area only.
    changes = pixels.copy()
    changes[1:] ^= pixels[:-1]
    bands = mask[pixels]
    tail = b"\1" if bands.all() else b"\0" + np.packbits(bands).tobytes()
    return np.packbits(changes).tobytes() + tail


def unpack_marks(octets: bytes, *, count: int, shape: tuple[int, int, int]) -> list[Mask]:
    """Inverse of `pack_marks`.

    Args:
        octets: of the unit.
        count: of masks.
        shape: of each, (line, sample, band).

    Raises:
        DecodeError: the octets cannot be what `pack_marks` wrote.
    """
    lines, samples, bands = shape
    if count == 0:
        raise DecodeError("a tile has marks and the scene header marks no value")
    most = count * (-(-lines * samples // 8) + 1 + -(-lines * samples * bands // 8))
    data = inflate(octets, most=most, of="a marks unit")
    masks, position = [], 0
    for _ in range(count):
        pixels, position = _bits(data, position, lines * samples)
        pixels = np.logical_xor.accumulate(pixels.reshape(lines, samples), axis=0)
        mask = np.zeros(shape, bool)
        if data[position : position + 1] == b"\1":
            mask[pixels] = True
            position += 1
        elif data[position : position + 1] == b"\0":
            marked, position = _bits(data, position + 1, int(pixels.sum()) * bands)
            mask[pixels] = marked.reshape(-1, bands)
        else:
            raise DecodeError("a marks unit does not say which bands it marks")
        masks.append(mask)
    if position != len(data):
        raise DecodeError("a marks unit holds more than its masks")
    return masks


def _bits(data: bytes, position: int, count: int) -> tuple[Mask, int]:
    end = position + -(-count // 8)
    if end > len(data):
        raise DecodeError("a marks unit holds less than its masks")
    packed = np.frombuffer(data[position:end], np.uint8)
    return np.unpackbits(packed, count=count).astype(bool), end


def fill_line(line: Cube, missing: Mask, mean: NDArray[np.integer[Any]]) -> None:
    """Put where a line has no data what costs little: the nearest sample that has some, fading into the mean spectrum.

    Args:
        line: (sample, band), changed in place.
        missing: (sample, band), where it has no data.
        mean: (band,), what the encoder subtracts.
    """
    pixels = missing.any(axis=1)
    if np.array_equal(pixels, missing.all(axis=1)):  # whole pixels, as nearly always: all bands at once
        line[pixels] = _faded(line, pixels, mean)
        return
    for band in np.flatnonzero(missing.any(axis=0)):
        lacking = missing[:, band]
        line[lacking, band] = _faded(line[:, band, None], lacking, mean[band, None])[:, 0]


def _faded(line: Cube, pixels: NDArray[np.bool_], mean: NDArray[np.integer[Any]]) -> Cube:
    """What stands in for those pixels, (pixel, band)."""
    valid, wanted = np.flatnonzero(~pixels), np.flatnonzero(pixels)
    if not len(valid):
        return np.broadcast_to(mean, (len(wanted), len(mean)))
    behind = np.searchsorted(valid, wanted)
    left, right = valid[np.maximum(behind - 1, 0)], valid[np.minimum(behind, len(valid) - 1)]
    nearest = np.where(abs(wanted - left) <= abs(right - wanted), left, right)
    share = (FADING ** abs(wanted - nearest))[:, None]
    filled: Cube = np.rint(mean + share * (line[nearest] - mean.astype(np.float64))).astype(line.dtype)
    return filled
