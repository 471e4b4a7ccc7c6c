"""Hash of the pixels of a scene, whatever file holds them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def content_sha256(cube: NDArray[np.integer[Any]]) -> str:
    """Return the SHA-256 of a scene's pixels as 64 hexadecimal digits.

    It is taken of the text `lines samples bands` and a line feed, in ASCII, then of all samples as little-endian int32,
    line after line, and all bands of a pixel together. The type is left out: one file format holds the same digital
    numbers as int16, another one as uint16. Wavelengths, no-data value and place are left out too.

    So a scene has one hash in every file format, if it is hashed as `read_scene` gives it: before bands are resampled,
    and before anything is subtracted or replaced. Any other choice of pixels has another hash: a crop, a part of the
    bands, another calibration, or one changed sample.

    Args:
        cube: (line, sample, band) integers that int32 can hold; may be memory-mapped, one line is held at a time.

    Raises:
        ValueError: the samples are not such integers.

    >>> content_sha256(np.zeros((1, 2, 3), np.int16)) == content_sha256(np.zeros((1, 2, 3), np.uint8))
    True
    """
    if cube.dtype.kind not in "iu" or not np.can_cast(cube.dtype, np.int32):
        raise ValueError(f"{cube.dtype} has no content hash; it is taken of integers that fit 32 bits with a sign")
    lines, samples, bands = cube.shape
    digest = hashlib.sha256(f"{lines} {samples} {bands}\n".encode())
    for line in cube:
        digest.update(np.ascontiguousarray(line, "<i4").data)
    return digest.hexdigest()
