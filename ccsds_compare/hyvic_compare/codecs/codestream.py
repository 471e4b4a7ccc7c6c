"""JPEG 2000 codestreams (ISO/IEC 15444-1) of at most a number of octets, through GDAL's OpenJPEG."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hyvic_runtime.errors import DecodeError
from numpy.typing import NDArray

ComponentPlanes = NDArray[np.integer[Any]]

MAX_RESOLUTIONS = 6
"""Five wavelet decompositions, the usual number in JPEG 2000. GDAL's own default stops at 128 pixels a side, costing
Indian Pines 7 dB at CR 128."""
_TRIES = 8
_NEAR_ENOUGH = 0.995
_LEAST_QUALITY = 1e-6
_SOC_SIZ = 0xFF4FFF51
_SIGNED = 0x80
_SIZ_HEAD = struct.Struct(">IHHIIIIIIIIH")


def encode_planes(planes: ComponentPlanes, octets: int) -> bytes:
    """Code planes as the components of one image, with one rate for all.

    OpenJPEG's rate control picks the code-block passes that lower the squared error most per octet, whatever
    component they belong to. The result is near the given rate, on either side. So the rate is corrected until the
    codestream is no longer than `octets` and within 0.5 % of it. The search also ends after 8 tries, or if there is
    nothing more to code.

    Args:
        planes: (component, line, sample), uint8, uint16 or int16.
        octets: upper bound.

    Returns:
        A codestream; the shortest one found if no one was short enough.
    """
    room = min(max(octets, 1), planes.nbytes)
    best, shortest = b"", b""
    # Rates that gave too short and too long codestreams; the wanted rate lies between them.
    low, wanted, high = 0.0, float(room), float(planes.nbytes)
    back_off = 1.0
    for _ in range(_TRIES):
        found = _encode(planes, 100 * wanted / planes.nbytes)
        shortest = min(shortest or found, found, key=len)
        if len(found) > octets:
            # Twice as far back each time: many rates give one codestream, and small steps would stay on this one.
            back_off *= 2
            high, aim = wanted, wanted * room / len(found) * (1 - back_off / 4096)
        else:
            best = max(best, found, key=len)
            low, aim = wanted, wanted * room / len(found)
        if len(best) >= _NEAR_ENOUGH * room or (best and wanted == planes.nbytes):
            break
        wanted = aim if low < aim < high else (low + high) / 2
    return best or shortest


def shortest_codestream(planes: ComponentPlanes) -> bytes:
    """Code planes as coarsely as possible: headers and next to nothing else."""
    return _encode(planes, _LEAST_QUALITY)


def are_signed(codestream: bytes) -> bool:
    """Return whether the samples of the first component are signed."""
    return bool(codestream[_SIZ_HEAD.size : _SIZ_HEAD.size + 1] >= bytes((_SIGNED,)))


def decode_planes(codestream: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> ComponentPlanes:
    """Decode a codestream of `encode_planes`.

    Args:
        codestream: octets of the codestream.
        shape: (component, line, sample) that it must have.
        dtype: sample type that it must have.

    Raises:
        DecodeError: it has another shape or type, or is damaged.
    """
    _check_size(codestream, shape, dtype)
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with _quiet(), rasterio.MemoryFile(codestream, ext=".j2k") as file, file.open(driver="JP2OpenJPEG") as image:
            if (image.count, image.height, image.width) != shape or {np.dtype(d) for d in image.dtypes} != {dtype}:
                raise DecodeError("the codestream's header contradicts itself")
            planes: ComponentPlanes = image.read()
    except RasterioError as error:
        raise DecodeError(f"OpenJPEG cannot decode the codestream ({' '.join(str(error).split())})") from error
    return planes


def _encode(planes: ComponentPlanes, quality: float) -> bytes:
    """Code at a percentage of the raw size."""
    import rasterio

    components, lines, samples = planes.shape
    options: dict[str, Any] = {
        "QUALITY": f"{min(quality, 100.0):.6f}",
        "REVERSIBLE": "NO",
        "YCC": "NO",  # three components are not colours here
        "CODEC": "J2K",
    }
    # GDAL wants 2**resolutions pixels on a side.
    if (resolutions := min(MAX_RESOLUTIONS, min(lines, samples).bit_length() - 1)) > 1:
        options["RESOLUTIONS"] = str(resolutions)
    profile = {"width": samples, "height": lines, "count": components, "dtype": planes.dtype}
    with _quiet(), rasterio.MemoryFile(ext=".j2k") as file:
        with file.open(driver="JP2OpenJPEG", **profile, **options) as image:
            image.write(planes)
        return bytes(file.getbuffer())


def _check_size(codestream: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
    """Check the SIZ marker segment (ISO/IEC 15444-1, A.5.1) before OpenJPEG allocates memory."""
    if len(codestream) < _SIZ_HEAD.size + 3 * shape[0]:
        raise DecodeError(f"{len(codestream)} octets are too few for a codestream of {shape[0]} components")
    marker, length, _, x_size, y_size, x_offset, y_offset, *_, components = _SIZ_HEAD.unpack_from(codestream)
    depths = codestream[_SIZ_HEAD.size : _SIZ_HEAD.size + 3 * shape[0]]
    # Ssiz: precision − 1, and the sign in the top bit; then the component's subsampling, which is 1 × 1.
    depth = 8 * dtype.itemsize - 1 | (_SIGNED if dtype.kind == "i" else 0)
    expected = (_SOC_SIZ, 38 + 3 * shape[0], shape[2], shape[1], shape[0], bytes((depth, 1, 1)) * shape[0])
    if (marker, length, x_size - x_offset, y_size - y_offset, components, depths) != expected:
        raise DecodeError(f"not a codestream of {shape[0]} components of {shape[1]} × {shape[2]} {dtype} samples")


@contextmanager
def _quiet() -> Iterator[None]:
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a scene in sensor geometry has no georeference
        yield
