"""Marks samples that are not measurements: packs their positions, and fills no-data samples before coding.

A sample without data says nothing about the ground. A saturated sample only says that there was too much light. A lossy
codec would change either value to a value near it. So a tile with such samples carries a mask, and the decoder puts the
exact value back.

While a tile is coded, no-data samples hold a smooth fill that fades into the mean spectrum, because every octet spent
on them is wasted.
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
"""Factor per sample by which the fill approaches the mean spectrum.

Measured (docs/results/no-data.md): it costs as few octets as the mean alone, without the loss of the mean at edges."""


def pack_marks(masks: Sequence[Mask]) -> bytes:
    """Return the octets of a masks unit.

    Args:
        masks: (line, sample, band) each, of one tile: a mask for each marked value of the scene header, in its order.
    """
    return zlib.compress(b"".join(map(_packed, masks)), 9)


def _packed(mask: Mask) -> bytes:
    """Return one bit per pixel, set if any band is marked; then 1, or 0 and one bit per band of each marked pixel.

    1 means that all bands of the marked pixels are marked.
    """
    pixels = mask.any(axis=2)
    # A line differs from the line above it only at the edges of an area.
    changes = pixels.copy()
    changes[1:] ^= pixels[:-1]
    bands = mask[pixels]
    tail = b"\1" if bands.all() else b"\0" + np.packbits(bands).tobytes()
    return np.packbits(changes).tobytes() + tail


def unpack_marks(octets: bytes, *, count: int, shape: tuple[int, int, int]) -> list[Mask]:
    """Return the masks that `pack_marks` packed.

    Args:
        octets: octets of the unit.
        count: number of masks.
        shape: (line, sample, band) of each mask.

    Raises:
        DecodeError: the octets are not `count` packed masks of this shape.
    """
    lines, samples, bands = shape
    if count == 0:
        raise DecodeError("a tile has masks and the scene header names no marked value")
    most = count * (-(-lines * samples // 8) + 1 + -(-lines * samples * bands // 8))
    data = inflate(octets, most=most, of="a masks unit")
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
            raise DecodeError("a masks unit does not say which bands it marks")
        masks.append(mask)
    if position != len(data):
        raise DecodeError(f"a masks unit holds {len(data)} octets; its masks need {position}")
    return masks


def _bits(data: bytes, position: int, count: int) -> tuple[Mask, int]:
    end = position + -(-count // 8)
    if end > len(data):
        raise DecodeError(f"a masks unit holds {len(data)} octets; its masks need {end} or more")
    packed = np.frombuffer(data[position:end], np.uint8)
    return np.unpackbits(packed, count=count).astype(bool), end


def fill_line(line: Cube, missing: Mask, mean: NDArray[np.integer[Any]]) -> None:
    """Fill the no-data samples of a line with the nearest sample that has data, fading into the mean spectrum.

    Args:
        line: (sample, band), changed in place.
        missing: (sample, band), True for samples without data.
        mean: (band,), the mean spectrum that the encoder subtracts.
    """
    pixels = missing.any(axis=1)
    if np.array_equal(pixels, missing.all(axis=1)):  # usually whole pixels are missing: fill all bands at once
        line[pixels] = _faded(line, pixels, mean)
        return
    for band in np.flatnonzero(missing.any(axis=0)):
        lacking = missing[:, band]
        line[lacking, band] = _faded(line[:, band, None], lacking, mean[band, None])[:, 0]


def _faded(line: Cube, pixels: NDArray[np.bool_], mean: NDArray[np.integer[Any]]) -> Cube:
    """Return the fill of the marked pixels, (pixel, band)."""
    valid, missing = np.flatnonzero(~pixels), np.flatnonzero(pixels)
    if not len(valid):
        return np.broadcast_to(mean, (len(missing), len(mean)))
    index = np.searchsorted(valid, missing)
    left, right = valid[np.maximum(index - 1, 0)], valid[np.minimum(index, len(valid) - 1)]
    nearest = np.where(abs(missing - left) <= abs(right - missing), left, right)
    weight = (FADING ** abs(missing - nearest))[:, None]
    filled: Cube = np.rint(mean + weight * (line[nearest] - mean.astype(np.float64))).astype(line.dtype)
    return filled
