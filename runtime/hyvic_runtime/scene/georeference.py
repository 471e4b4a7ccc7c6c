"""Position of a scene on the ground, and its form in ENVI headers."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass

from hyvic_runtime.errors import DecodeError

MAX_CRS_OCTETS = 2**14
_TRANSFORM = struct.Struct(">6d")
_CRS = re.compile(r"[A-Z]+:[0-9A-Z]+|[A-Z][A-Z0-9_]*\[.*", re.DOTALL)
"""Pattern of a code or WKT. Other texts are refused, because libraries read them as a file name or an address."""
_UTM = re.compile(r"EPSG:32([67])(0[1-9]|[1-5]\d|60)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Georeference:
    """Affine map from (sample, line) to coordinates, and their reference system.

    Attributes:
        transform: a, b, c, d, e, f of x = a · sample + b · line + c, y = d · sample + e · line + f, at the upper left
            corners of pixels.
        crs: coordinate reference system, as a code such as "EPSG:32633" or as WKT; empty if unknown.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str = ""

    def __post_init__(self) -> None:
        if len(self.transform) != 6 or not all(map(math.isfinite, self.transform)):
            raise ValueError("a transform has six finite numbers")
        if len(self.crs.encode()) > MAX_CRS_OCTETS:
            raise ValueError(f"the reference system has more than {MAX_CRS_OCTETS} octets")
        if self.crs and not _CRS.fullmatch(self.crs):
            raise ValueError("the reference system is neither a code nor WKT")

    def pack(self) -> bytes:
        """Return the octets on the wire: six binary64 numbers, big-endian, then the reference system in UTF-8."""
        return _TRANSFORM.pack(*self.transform) + self.crs.encode()


def unpack_georeference(octets: bytes) -> Georeference:
    """Return the georeference that `Georeference.pack` wrote.

    Raises:
        DecodeError: the octets are too few, or hold invalid numbers or text.
    """
    if len(octets) < _TRANSFORM.size:
        raise DecodeError(f"a georeference has at least {_TRANSFORM.size} octets, this one {len(octets)}")
    try:
        return Georeference(
            transform=_TRANSFORM.unpack(octets[: _TRANSFORM.size]), crs=octets[_TRANSFORM.size :].decode()
        )
    except ValueError as error:  # UnicodeDecodeError is a ValueError
        raise DecodeError(f"georeference: {error}") from error


def envi_map_info(georeference: Georeference) -> list[str] | None:
    """Return the entries of ENVI's `map info`; None for a rotated or mirrored grid, which ENVI cannot express."""
    a, b, c, d, e, f = georeference.transform
    if b or d or a <= 0 or e >= 0:
        return None
    origin_and_size = ["1", "1", repr(c), repr(f), repr(a), repr(-e)]
    utm = _UTM.fullmatch(georeference.crs)
    if utm:
        hemisphere = "North" if utm[1] == "6" else "South"
        return ["UTM", *origin_and_size, str(int(utm[2])), hemisphere, "WGS-84", "units=Meters"]
    if georeference.crs == "EPSG:4326":
        return ["Geographic Lat/Lon", *origin_and_size, "WGS-84", "units=Degrees"]
    return ["Arbitrary", *origin_and_size]


def georeference_from_envi(map_info: list[str], coordinate_system: str) -> Georeference | None:
    """Return the georeference of an ENVI header; None if the grid is rotated or the entries are not understood.

    Args:
        map_info: entries of `map info`.
        coordinate_system: text of `coordinate system string`.
    """
    try:
        return _from_envi(map_info, coordinate_system)
    except ValueError:
        return None


def _from_envi(map_info: list[str], coordinate_system: str) -> Georeference | None:
    reference_sample, reference_line, x, y, width, height = map(float, map_info[1:7])
    if any(entry.replace(" ", "").startswith("rotation=") and float(entry.split("=")[1]) for entry in map_info):
        return None
    # ENVI counts reference pixels from 1, and 1.0 is the upper left corner of the first pixel.
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
