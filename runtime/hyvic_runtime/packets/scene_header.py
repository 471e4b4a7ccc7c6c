"""The scene header unit and the scene end unit; layout in docs/packet-format.md."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import DecodeError
from hyvic_runtime.packets.band_centres import pack_band_centres, unpack_band_centres
from hyvic_runtime.scene.georeference import Georeference, unpack_georeference
from hyvic_runtime.scene.scene import SUPPORTED_DTYPES

BUNDLE_ID_OCTETS = 8
MAX_LINES = MAX_SAMPLES = 2**24
_FIELD = struct.Struct(">BH")
FIRST_IGNORED_FIELD = 128
"""Smallest tag of the fields that a decoder may ignore if it does not know them."""
_LAYOUT = struct.Struct(f">{BUNDLE_ID_OCTETS}sIIHB")
_WITHOUT_MEAN = 128
"""Number added to the sample type if no mean spectrum follows."""
_DTYPE_OF_MEAN = np.dtype(np.void)
"""Default that stands for the sample type of the mean spectrum."""


class HeaderField(IntEnum):
    """Tag of an optional field at the end of a scene header."""

    NO_DATA = 1
    SATURATED = 2
    WAVELENGTHS = 3
    GEOREFERENCE = 4
    BAND_CENTRES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneHeader:
    """Size and type of a scene, its mean spectrum, the bundle that coded it, and its metadata.

    Attributes:
        bundle_id: first eight octets of the identity of the bundle.
        lines: number of lines of the cube, or 0 if not known yet; a scene end unit then gives the number.
        samples: number of samples of a line.
        mean_spectrum: (band,) in the type of the cube. The encoder graph reads spectra minus this mean, and the decoder
            adds it. None if the strip basis units bring a mean for each row of tiles.
        bands: number of bands; taken from the mean spectrum if there is one.
        dtype: sample type of the cube, whose size is the bit depth; taken from the mean spectrum if there is one.
        no_data: value that marks samples without data.
        saturated: value that marks saturated samples.
        wavelengths: (band,) in nm, if they differ from the wavelengths of the bundle; packets carry whole picometres.
        georeference: position of the scene on the ground.
    """

    bundle_id: bytes
    lines: int
    samples: int
    mean_spectrum: NDArray[np.integer[Any]] | None
    bands: int = 0
    dtype: np.dtype[Any] = _DTYPE_OF_MEAN
    no_data: int | None = None
    saturated: int | None = None
    wavelengths: NDArray[np.float64] | None = None
    georeference: Georeference | None = None

    def __post_init__(self) -> None:
        if self.mean_spectrum is not None:
            object.__setattr__(self, "bands", self.mean_spectrum.size)
            object.__setattr__(self, "dtype", self.mean_spectrum.dtype)
        if self.dtype not in SUPPORTED_DTYPES:
            raise ValueError(f"the cube holds {self.dtype}; {', '.join(map(str, SUPPORTED_DTYPES))} are possible")
        for name, value, least, limit in (
            ("lines", self.lines, 0, MAX_LINES),
            ("samples", self.samples, 1, MAX_SAMPLES),
            ("bands", self.bands, 1, 2**16 - 1),
        ):
            if not least <= value <= limit:
                raise ValueError(f"{name} is {value}; {least}..{limit} are possible")

    @property
    def marked_values(self) -> tuple[int, ...]:
        """Values whose positions the masks units give, in the order of the masks."""
        return tuple(value for value in (self.no_data, self.saturated) if value is not None)

    def pack(self) -> bytes:
        """Return the octets of the unit."""
        mean, code = self.mean_spectrum, SUPPORTED_DTYPES.index(self.dtype)
        if mean is None:
            code += _WITHOUT_MEAN
        octets = _LAYOUT.pack(self.bundle_id, self.lines, self.samples, self.bands, code)
        if mean is not None:
            octets += mean.astype(mean.dtype.newbyteorder(">")).tobytes()
        for tag, content in self._fields():
            octets += _FIELD.pack(tag, len(content)) + content
        return octets

    def _fields(self) -> Iterator[tuple[HeaderField, bytes]]:
        sample = self.dtype.newbyteorder(">")
        if self.no_data is not None:
            yield HeaderField.NO_DATA, np.array(self.no_data, sample).tobytes()
        if self.saturated is not None:
            yield HeaderField.SATURATED, np.array(self.saturated, sample).tobytes()
        centres = None if self.wavelengths is None else pack_band_centres(self.wavelengths)
        if self.wavelengths is not None and centres is None:
            yield HeaderField.WAVELENGTHS, self.wavelengths.astype(">f4").tobytes()
        if self.georeference is not None:
            yield HeaderField.GEOREFERENCE, self.georeference.pack()
        if centres is not None:
            yield HeaderField.BAND_CENTRES, centres


_END_LAYOUT = struct.Struct(">I")


def pack_scene_end(lines: int) -> bytes:
    """Return the octets of the scene end unit, which closes a scene whose header leaves the number of lines open.

    Raises:
        ValueError: a scene cannot have this number of lines.
    """
    if not 1 <= lines <= MAX_LINES:
        raise ValueError(f"a scene ends after {lines} lines; 1..{MAX_LINES} are possible")
    return _END_LAYOUT.pack(lines)


def unpack_scene_end(octets: bytes) -> int:
    """Return the number of lines that a scene end unit gives.

    Raises:
        DecodeError: the unit has the wrong length or an invalid number.
    """
    if len(octets) != _END_LAYOUT.size:
        raise DecodeError(f"a scene end has {_END_LAYOUT.size} octets, this one {len(octets)}")
    (lines,) = _END_LAYOUT.unpack(octets)
    if not 1 <= lines <= MAX_LINES:
        raise DecodeError(f"a scene ends after {lines} lines; 1..{MAX_LINES} are possible")
    return int(lines)


def unpack_scene_header(octets: bytes) -> SceneHeader:
    """Return the header that `SceneHeader.pack` wrote.

    Raises:
        DecodeError: the unit has the wrong length or holds an invalid value.
    """
    if len(octets) < _LAYOUT.size:
        raise DecodeError(f"a scene header has at least {_LAYOUT.size} octets, this one {len(octets)}")
    bundle_id, lines, samples, bands, code = _LAYOUT.unpack(octets[: _LAYOUT.size])
    centred, last = code < _WITHOUT_MEAN, len(SUPPORTED_DTYPES) - 1
    if code % _WITHOUT_MEAN > last:
        raise DecodeError(
            f"scene header names sample type {code}; 0..{last} and {_WITHOUT_MEAN}..{_WITHOUT_MEAN + last} are defined"
        )
    dtype = SUPPORTED_DTYPES[code % _WITHOUT_MEAN]
    fields_at = _LAYOUT.size + centred * bands * dtype.itemsize
    if len(octets) < fields_at:
        raise DecodeError(f"a scene header of {bands} bands of {dtype} cannot have only {len(octets)} octets")
    sample = dtype.newbyteorder(">")
    fields = _header_fields(
        octets,
        fields_at,
        {
            HeaderField.NO_DATA: dtype.itemsize,
            HeaderField.SATURATED: dtype.itemsize,
            HeaderField.WAVELENGTHS: 4 * bands,
        },
    )
    mean = np.frombuffer(octets, sample, bands, offset=_LAYOUT.size).astype(dtype) if centred else None
    values = {
        tag: int(np.frombuffer(fields[tag], sample)[0])
        for tag in (HeaderField.NO_DATA, HeaderField.SATURATED)
        if tag in fields
    }
    wavelengths = None
    if HeaderField.WAVELENGTHS in fields:
        wavelengths = np.frombuffer(fields[HeaderField.WAVELENGTHS], ">f4").astype(np.float64)
        if not (np.isfinite(wavelengths).all() and (wavelengths > 0).all()):
            raise DecodeError("scene header: a wavelength is not a positive number of nm")
    if HeaderField.BAND_CENTRES in fields:
        if wavelengths is not None:
            raise DecodeError("scene header: it gives the band centres twice, in fields 3 and 5")
        wavelengths = unpack_band_centres(fields[HeaderField.BAND_CENTRES], bands)
    georeference = None
    if HeaderField.GEOREFERENCE in fields:
        georeference = unpack_georeference(fields[HeaderField.GEOREFERENCE])
    try:
        return SceneHeader(
            bundle_id=bundle_id,
            lines=lines,
            samples=samples,
            mean_spectrum=mean,
            bands=bands,
            dtype=dtype,
            no_data=values.get(HeaderField.NO_DATA),
            saturated=values.get(HeaderField.SATURATED),
            wavelengths=wavelengths,
            georeference=georeference,
        )
    except ValueError as error:
        raise DecodeError(f"scene header: {error}") from error


def _header_fields(octets: bytes, position: int, sizes: Mapping[HeaderField, int]) -> dict[HeaderField, bytes]:
    """Return the contents of the optional fields by tag, from this position on."""
    fields: dict[HeaderField, bytes] = {}
    while position < len(octets):
        if len(octets) - position < _FIELD.size:
            raise DecodeError("a scene header ends inside a field")
        tag, size = _FIELD.unpack_from(octets, position)
        content = octets[position + _FIELD.size : position + _FIELD.size + size]
        position += _FIELD.size + size
        if len(content) != size:
            raise DecodeError(f"field {tag} of a scene header announces {size} octets and {len(content)} are left")
        if tag >= FIRST_IGNORED_FIELD:
            continue
        if tag not in set(HeaderField) or tag in fields:
            raise DecodeError(f"field {tag} of a scene header is unknown or repeated; a newer decoder may know it")
        if len(content) != sizes.get(HeaderField(tag), len(content)):
            raise DecodeError(f"field {tag} of a scene header cannot have {len(content)} octets")
        fields[HeaderField(tag)] = content
    return fields
