"""The unit that says what a stream holds; layout in docs/packet-format.md."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import DecodeError
from hyvic_runtime.scene import SUPPORTED_DTYPES

BUNDLE_ID_OCTETS = 8
MAX_LINES = MAX_SAMPLES = 2**24
_LAYOUT = struct.Struct(f">{BUNDLE_ID_OCTETS}sIIHB")


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneHeader:
    """Size, type and mean spectrum of a scene, and the bundle that coded it.

    Attributes:
        bundle_id: first eight octets of the bundle's identity.
        lines, samples: the cube's extent.
        mean_spectrum: (band,) in the cube's type, whose size is the bit depth; subtracted before the encoder's
            graph and added after the decoder's.
    """

    bundle_id: bytes
    lines: int
    samples: int
    mean_spectrum: NDArray[np.integer[Any]]

    def __post_init__(self) -> None:
        for name, value, limit in (
            ("lines", self.lines, MAX_LINES),
            ("samples", self.samples, MAX_SAMPLES),
            ("bands", self.mean_spectrum.size, 2**16 - 1),
        ):
            if not 1 <= value <= limit:
                raise ValueError(f"{name} is {value}; 1..{limit} are possible")

    def pack(self) -> bytes:
        """Octets of the unit."""
        mean = self.mean_spectrum
        fixed = _LAYOUT.pack(self.bundle_id, self.lines, self.samples, mean.size, SUPPORTED_DTYPES.index(mean.dtype))
        return fixed + mean.astype(mean.dtype.newbyteorder(">")).tobytes()


def unpack_scene_header(octets: bytes) -> SceneHeader:
    """Inverse of `SceneHeader.pack`.

    Raises:
        DecodeError: wrong length or an impossible value.
    """
    if len(octets) < _LAYOUT.size:
        raise DecodeError(f"a scene header has at least {_LAYOUT.size} octets, this one {len(octets)}")
    bundle_id, lines, samples, bands, code = _LAYOUT.unpack(octets[: _LAYOUT.size])
    if code >= len(SUPPORTED_DTYPES):
        raise DecodeError(f"scene header names sample type {code}; 0..{len(SUPPORTED_DTYPES) - 1} are defined")
    dtype = SUPPORTED_DTYPES[code]
    if len(octets) != _LAYOUT.size + bands * dtype.itemsize:
        raise DecodeError(f"a scene header of {bands} bands of {dtype} cannot have {len(octets)} octets")
    mean = np.frombuffer(octets, dtype.newbyteorder(">"), offset=_LAYOUT.size).astype(dtype)
    try:
        return SceneHeader(bundle_id=bundle_id, lines=lines, samples=samples, mean_spectrum=mean)
    except ValueError as error:
        raise DecodeError(f"scene header: {error}") from error
