"""The unit that says what a stream holds; layout in docs/packet-format.md."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from hyvic_runtime.errors import DecodeError
from hyvic_runtime.scene import SUPPORTED_DTYPES

BUNDLE_ID_OCTETS = 8
MAX_LINES = MAX_SAMPLES = 2**24
_LAYOUT = struct.Struct(f">{BUNDLE_ID_OCTETS}sIIHB")


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneHeader:
    """Size and type of a scene, and the bundle that coded it.

    Attributes:
        bundle_id: first eight octets of the bundle's identity.
        lines, samples, bands: the cube's shape.
        dtype: the cube's type; its size is the bit depth.
    """

    bundle_id: bytes
    lines: int
    samples: int
    bands: int
    dtype: np.dtype[np.integer[Any]]

    def __post_init__(self) -> None:
        for name, value, limit in (
            ("lines", self.lines, MAX_LINES),
            ("samples", self.samples, MAX_SAMPLES),
            ("bands", self.bands, 2**16 - 1),
        ):
            if not 1 <= value <= limit:
                raise ValueError(f"{name} is {value}; 1..{limit} are possible")

    def pack(self) -> bytes:
        """Octets of the unit."""
        code = SUPPORTED_DTYPES.index(self.dtype)
        return _LAYOUT.pack(self.bundle_id, self.lines, self.samples, self.bands, code)


def unpack_scene_header(octets: bytes) -> SceneHeader:
    """Inverse of `SceneHeader.pack`.

    Raises:
        DecodeError: wrong length or an impossible value.
    """
    if len(octets) != _LAYOUT.size:
        raise DecodeError(f"a scene header has {_LAYOUT.size} octets, this one {len(octets)}")
    bundle_id, lines, samples, bands, code = _LAYOUT.unpack(octets)
    if code >= len(SUPPORTED_DTYPES):
        raise DecodeError(f"scene header names sample type {code}; 0..{len(SUPPORTED_DTYPES) - 1} are defined")
    try:
        return SceneHeader(bundle_id=bundle_id, lines=lines, samples=samples, bands=bands, dtype=SUPPORTED_DTYPES[code])
    except ValueError as error:
        raise DecodeError(f"scene header: {error}") from error
