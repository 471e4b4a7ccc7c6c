"""Where a scene lies on the ground."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass

from hyvic_runtime.errors import DecodeError

MAX_CRS_OCTETS = 2**14
_TRANSFORM = struct.Struct(">6d")
_CRS = re.compile(r"[A-Z]+:[0-9A-Z]+|[A-Z][A-Z0-9_]*\[.*", re.DOTALL)
"""A code or WKT, and nothing else: libraries take other texts for a file or an address to read."""
_UTM = re.compile(r"EPSG:32([67])(0[1-9]|[1-5]\d|60)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Georeference:
    """Affine map from (sample, line) to coordinates, and what the coordinates are.

    Attributes:
        transform: a, b, c, d, e, f of x = a · sample + b · line + c, y = d · sample + e · line + f, at the upper left
            corners of pixels.
        crs: coordinate reference system as an authority's code, such as "EPSG:32633", or WKT; empty where the file
            names none.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str = ""

    def __post_init__(self) -> None:
        if len(self.transform) != 6 or not all(map(math.isfinite, self.transform)):
            raise ValueError("a transform has six finite numbers")
        if len(self.crs.encode()) > MAX_CRS_OCTETS:
            raise ValueError(f"a reference system of more than {MAX_CRS_OCTETS} octets")
        if self.crs and not _CRS.fullmatch(self.crs):
            raise ValueError("a reference system that is neither a code nor WKT")

    def pack(self) -> bytes:
        """Octets on the wire: six binary64, big-endian, and the reference system in UTF-8."""
        return _TRANSFORM.pack(*self.transform) + self.crs.encode()


def unpack_georeference(octets: bytes) -> Georeference:
    """Inverse of `Georeference.pack`.

    Raises:
        DecodeError: too short, or no text.
    """
    if len(octets) < _TRANSFORM.size:
        raise DecodeError(f"a georeference has at least {_TRANSFORM.size} octets, this one {len(octets)}")
    try:
        return Georeference(
            transform=_TRANSFORM.unpack(octets[: _TRANSFORM.size]), crs=octets[_TRANSFORM.size :].decode()
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise DecodeError(f"georeference: {error}") from error


def envi_map_info(georeference: Georeference) -> list[str] | None:
    """The entries of ENVI's `map info`; None where it cannot say a rotated grid."""
    a, b, c, d, e, f = georeference.transform
    if b or d or a <= 0 or e >= 0:
        return None
    place = ["1", "1", repr(c), repr(f), repr(a), repr(-e)]
    utm = _UTM.fullmatch(georeference.crs)
    if utm:
        hemisphere = "North" if utm[1] == "6" else "South"
        return ["UTM", *place, str(int(utm[2])), hemisphere, "WGS-84", "units=Meters"]
    if georeference.crs == "EPSG:4326":
        return ["Geographic Lat/Lon", *place, "WGS-84", "units=Degrees"]
    return ["Arbitrary", *place]


def georeference_from_envi(map_info: list[str], coordinate_system: str) -> Georeference | None:
    """What ENVI's `map info` and `coordinate system string` say; None where it is rotated or not understood."""
    try:
        return _from_envi(map_info, coordinate_system)
    except ValueError:
        return None


def _from_envi(map_info: list[str], coordinate_system: str) -> Georeference | None:
    reference_sample, reference_line, x, y, width, height = map(float, map_info[1:7])
    if any(entry.replace(" ", "").startswith("rotation=") and float(entry.split("=")[1]) for entry in map_info):
        return None
    # The reference pixel counts from 1, and 1 is the upper left corner of the first.
    transform = (width, 0.0, x - (reference_sample - 1) * width, 0.0, -height, y + (reference_line - 1) * height)
    crs = coordinate_system
    if map_info[0] == "UTM" and len(map_info) > 9 and map_info[9] == "WGS-84":
        hemisphere = {"North": 6, "South": 7}.get(map_info[8])
        zone = int(map_info[7])
        if hemisphere is None or not 1 <= zone <= 60:
            return None
        crs = f"EPSG:32{hemisphere}{zone:02}"
    elif map_info[0] == "Geographic Lat/Lon" and "WGS-84" in map_info:
        crs = "EPSG:4326"
    return Georeference(transform=transform, crs=crs)
