"""The units that say what a stream holds and where it ends; layout in docs/packet-format.md."""

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
"""Fields from here on may be passed over by a decoder that does not know them."""
_LAYOUT = struct.Struct(f">{BUNDLE_ID_OCTETS}sIIHB")
_WITHOUT_MEAN = 128
"""Added to the sample type where no mean spectrum follows."""
_OF_THE_MEAN = np.dtype(np.void)


class HeaderField(IntEnum):
    """What may stand at a header's end."""

    NO_DATA = 1
    SATURATED = 2
    WAVELENGTHS = 3
    GEOREFERENCE = 4
    BAND_CENTRES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneHeader:
    """Size and type of a scene, its mean spectrum, the bundle that coded it, and what is carried along.

    Attributes:
        bundle_id: first eight octets of the bundle's identity.
        lines: of the cube, or 0 where they are not known yet: a scene end unit then tells them.
        samples: of a line.
        mean_spectrum: (band,) in the cube's type; subtracted before the encoder's graph and added after the
            decoder's. None of a scene whose units bring it along, by rows of tiles.
        bands: of the cube; of the mean spectrum where there is one.
        dtype: the cube's, whose size is the bit depth; the mean spectrum's where there is one.
        no_data: value that marks samples without data.
        saturated: value that marks saturated samples.
        wavelengths: (band,) in nm, where they are not the bundle's; packets carry them to the picometre.
        georeference: where the scene lies.
    """

    bundle_id: bytes
    lines: int
    samples: int
    mean_spectrum: NDArray[np.integer[Any]] | None
    bands: int = 0
    dtype: np.dtype[Any] = _OF_THE_MEAN
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
        """Values whose places the marks units give, in their order."""
        return tuple(value for value in (self.no_data, self.saturated) if value is not None)

    def pack(self) -> bytes:
        """Octets of the unit."""
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
    """Octets of the unit that closes a scene whose header left its lines open.

    Raises:
        ValueError: more or fewer lines than a scene can have.
    """
    if not 1 <= lines <= MAX_LINES:
        raise ValueError(f"a scene ends after {lines} lines; 1..{MAX_LINES} are possible")
    return _END_LAYOUT.pack(lines)


def unpack_scene_end(octets: bytes) -> int:
    """Inverse of `pack_scene_end`.

    Raises:
        DecodeError: wrong length or an impossible value.
    """
    if len(octets) != _END_LAYOUT.size:
        raise DecodeError(f"a scene end has {_END_LAYOUT.size} octets, this one {len(octets)}")
    (lines,) = _END_LAYOUT.unpack(octets)
    if not 1 <= lines <= MAX_LINES:
        raise DecodeError(f"a scene ends after {lines} lines; 1..{MAX_LINES} are possible")
    return int(lines)


def unpack_scene_header(octets: bytes) -> SceneHeader:
    """Inverse of `SceneHeader.pack`.

    Raises:
        DecodeError: wrong length or an impossible value.
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
        raise DecodeError(f"a scene header of {bands} bands of {dtype} cannot have {len(octets)} octets")
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
            raise DecodeError("scene header: it gives its bands' centres twice")
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
    """What stands from this position on, by tag."""
    fields: dict[HeaderField, bytes] = {}
    while position < len(octets):
        if len(octets) - position < _FIELD.size:
            raise DecodeError("a scene header ends within a field")
        tag, size = _FIELD.unpack_from(octets, position)
        content = octets[position + _FIELD.size : position + _FIELD.size + size]
        position += _FIELD.size + size
        if len(content) != size:
            raise DecodeError(f"field {tag} of a scene header announces {size} octets and {len(content)} are left")
        if tag >= FIRST_IGNORED_FIELD:
            continue
        if tag not in set(HeaderField) or tag in fields:
            raise DecodeError(f"field {tag} of a scene header is unknown or there twice; a newer decoder may know it")
        if len(content) != sizes.get(HeaderField(tag), len(content)):
            raise DecodeError(f"field {tag} of a scene header cannot have {len(content)} octets")
        fields[HeaderField(tag)] = content
    return fields
