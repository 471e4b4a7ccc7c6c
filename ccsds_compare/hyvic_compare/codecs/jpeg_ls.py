"""JPEG-LS (ISO/IEC 14495-1) band by band, through imagecodecs' CharLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.scene.scene import Cube, Scene

from hyvic_compare.codecs.codec import octet_budget
from hyvic_compare.codecs.stream import CubeType, StreamKind, framed, prefixed, unframed
from hyvic_compare.errors import TargetRatioError

_VERSION = 1
MAX_NEAR = 255
"""Largest error that the standard can allow (C.2.3)."""


class _JpegLs:
    @property
    def identity(self) -> str:
        return f"{self} version {_VERSION}, imagecodecs {version('imagecodecs')}"

    def decode(self, stream: bytes) -> Cube:
        import imagecodecs

        cube, payload = unframed(StreamKind.JPEG_LS, stream)
        coded = _coded_type(cube.dtype)
        result = np.empty((cube.lines, cube.samples, cube.bands), coded)
        for band in range(cube.bands):
            try:
                plane = imagecodecs.jpegls_decode(payload.take_prefixed())
            except RuntimeError as error:
                raise DecodeError(f"CharLS cannot decode band {band} ({' '.join(str(error).split())})") from error
            if plane.shape != result.shape[:2] or plane.dtype != coded:
                raise DecodeError(f"band {band} is {plane.shape} {plane.dtype}, not {result.shape[:2]} {coded}")
            result[..., band] = plane ^ coded.type(_half(cube.dtype))
        payload.finish()
        return result.view(cube.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegLsLossless(_JpegLs):
    """JPEG-LS of every band as an image of its own.

    The payload is each band's JPEG-LS file after its length (4 octets, big-endian). Half of the range is added to
    signed samples before coding.
    """

    name: str = field(default="JPEG-LS lossless", init=False, repr=False)

    def encode_losslessly(self, scene: Scene) -> bytes:
        return _encoded(scene.cube, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegLsNearLossless(_JpegLs):
    """JPEG-LS with the smallest NEAR, one for all bands, whose stream keeps the budget."""

    name: str = field(default="JPEG-LS", init=False, repr=False)

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        budget = octet_budget(scene, target_ratio)
        # NEAR is at most half of the largest sample value (C.2.3).
        high = min(MAX_NEAR, np.iinfo(_coded_type(scene.cube.dtype)).max // 2)
        best = _encoded(scene.cube, high)
        if len(best) > budget:
            raise TargetRatioError(codec=self.name, target_ratio=target_ratio, allowed=budget, needed=len(best))
        low = 0
        while low < high:
            near = (low + high) // 2
            stream = _encoded(scene.cube, near)
            if len(stream) <= budget:
                best, high = stream, near
            else:
                low = near + 1
        return best


def _encoded(cube: Cube, near: int) -> bytes:
    import imagecodecs

    of = CubeType.of(cube)
    coded = _coded_type(cube.dtype)
    # Adding half of the range to two's complement inverts its top bit.
    turned = cube.view(coded) ^ coded.type(_half(of.dtype))
    payload = b""
    for plane in np.moveaxis(turned, 2, 0):
        payload += prefixed(bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(plane), level=near)))
    return framed(StreamKind.JPEG_LS, of, payload)


def _coded_type(dtype: np.dtype[Any]) -> np.dtype[np.unsignedinteger[Any]]:
    return np.dtype(f"u{dtype.itemsize}")


def _half(dtype: np.dtype[Any]) -> int:
    return 1 << 8 * dtype.itemsize - 1 if dtype.kind == "i" else 0
