"""Raw image files: band-sequential, big-endian, two octets a sample, or four where D > 16."""

from __future__ import annotations

from typing import Any

import numpy as np

from ccsds123.codec import Cube
from ccsds123.parameters import ImageShape, Parameters
from ccsds123.violations import ParameterError


def cube_from_raw(octets: bytes, shape: ImageShape, parameters: Parameters) -> Cube:
    """Return the cube (line, sample, band) in a file's octets, as a view.

    Raises:
        ParameterError: the file does not have the length that the shape needs.
    """
    dtype = _dtype(parameters)
    if len(octets) != shape.size * dtype.itemsize:
        raise ParameterError(
            f"{len(octets)} octets where {shape.samples} × {shape.lines} × {shape.bands} samples of {dtype.itemsize} "
            f"octets take {shape.size * dtype.itemsize}"
        )
    bands: Cube = np.frombuffer(octets, dtype).reshape(shape.bands, shape.lines, shape.samples)
    return np.moveaxis(bands, 0, 2)


def raw_from_cube(cube: Cube, parameters: Parameters) -> bytes:
    """Return the octets of a file."""
    return np.moveaxis(cube, 2, 0).astype(_dtype(parameters)).tobytes()


def _dtype(parameters: Parameters) -> np.dtype[np.integer[Any]]:
    return np.dtype(f">{'i' if parameters.signed else 'u'}{2 if parameters.dynamic_range <= 16 else 4}")
