"""JPEG 2000 without a spectral transform: the seed paper's first traditional baseline."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from hyvic_runtime.scene.scene import Cube, Scene

from hyvic_compare.codecs.codec import octet_budget
from hyvic_compare.codecs.codestream import (
    ComponentPlanes,
    are_signed,
    decode_planes,
    encode_planes,
    shortest_codestream,
)
from hyvic_compare.codecs.stream import FRAME_OCTETS, LENGTH_OCTETS, CubeType, StreamKind, framed, prefixed, unframed
from hyvic_compare.errors import TargetRatioError

_TRIES = 3
_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg2000:
    """JPEG 2000 (9/7 wavelet) of the bands as they are.

    All bands are the components of one image, and OpenJPEG's rate control shares the octets among them. With
    `per_band`, every band is an image of its own with an equal share, as a user without multi-component software would
    code. Streams end within 0.5 % below the budget if OpenJPEG's passes allow it (see `encode_planes`), and within 2 %
    with `per_band`. Below some 10 octets a band, the packet headers alone exceed the budget.

    The payload is the codestream, or for `per_band` each band's codestream after its length (4 octets, big-endian).

    Attributes:
        per_band: whether every band is an image of its own.
    """

    per_band: bool = False

    @property
    def name(self) -> str:
        return "JPEG 2000, per band" if self.per_band else "JPEG 2000"

    @property
    def identity(self) -> str:
        return f"{self} version {_VERSION}, rasterio {version('rasterio')}"

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        cube = CubeType.of(scene.cube)
        budget = octet_budget(scene, target_ratio)
        planes = np.ascontiguousarray(np.moveaxis(scene.cube, 2, 0)).astype(_coded_type(scene.cube), copy=False)
        room = budget - FRAME_OCTETS
        payload = _encode_each(planes, room) if self.per_band else encode_planes(planes, room)
        if len(payload) > room:
            raise TargetRatioError(
                codec=self.name, target_ratio=target_ratio, allowed=budget, needed=len(payload) + FRAME_OCTETS
            )
        return framed(self._kind, cube, payload)

    def decode(self, stream: bytes) -> Cube:
        cube, payload = unframed(self._kind, stream)
        shape = (cube.bands, cube.lines, cube.samples)
        if self.per_band:
            bands = [_decoded(payload.take_prefixed(), (1, *shape[1:]), cube) for _ in range(cube.bands)]
            payload.finish()
            planes = np.concatenate(bands)
        else:
            planes = _decoded(payload.take(payload.remaining), shape, cube)
        low, high = np.iinfo(cube.dtype).min, np.iinfo(cube.dtype).max
        return np.moveaxis(planes.clip(low, high).astype(cube.dtype), 0, 2)

    @property
    def _kind(self) -> StreamKind:
        return StreamKind.JPEG2000_PER_BAND if self.per_band else StreamKind.JPEG2000


def _coded_type(cube: Cube) -> np.dtype[np.integer[Any]]:
    """Return a signed type if the samples allow it, as samples of 16 bits mostly do.

    JPEG 2000 assumes that unsigned samples spread about the middle of their range (ISO/IEC 15444-1, G.1.2). With few
    octets, digital numbers of some thousands would come back as 32,768. GDAL has no signed 8-bit samples.
    """
    fits = cube.dtype == np.int8 or (cube.dtype == np.uint16 and int(cube.max()) <= np.iinfo(np.int16).max)
    return np.dtype(np.int16) if fits else cube.dtype


def _decoded(codestream: bytes, shape: tuple[int, int, int], cube: CubeType) -> ComponentPlanes:
    signed = cube.dtype.kind == "i" or are_signed(codestream)
    return decode_planes(codestream, shape, np.dtype(np.int16) if signed else cube.dtype)


def _encode_each(planes: ComponentPlanes, room: int) -> bytes:
    """Code every band with an equal share of the octets that are left; again with less if the result is too long."""
    # If even these codestreams are too long, no share of the room helps.
    payload = b"".join(prefixed(shortest_codestream(plane[None])) for plane in planes)
    if len(payload) > room:
        return payload
    target = room
    for _ in range(_TRIES):
        payload = b""
        for done, plane in enumerate(planes):
            share = (target - len(payload)) // (len(planes) - done) - LENGTH_OCTETS
            payload += prefixed(encode_planes(plane[None], share))
        if len(payload) <= room:
            break
        target -= len(payload) - room + len(planes)
    return payload
