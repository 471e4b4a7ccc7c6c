"""The scene: a cube of digital numbers and its metadata."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene.georeference import Georeference

Cube = NDArray[np.integer[Any]]
SUPPORTED_DTYPES = tuple(np.dtype(name) for name in ("uint8", "int8", "uint16", "int16"))

TRUE_COLOUR_NM = (650.0, 560.0, 470.0)
TYPICAL_RANGE_NM = (400.0, 2500.0)
"""Range of the band centres of a typical hyperspectral sensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A hyperspectral image.

    Attributes:
        cube: (line, sample, band) integer digital numbers, 8 or 16 bits; may be memory-mapped.
        wavelengths: (band,) band centres in nm, or None if unknown.
        no_data: value of samples that hold no measurement, or None if every sample is a measurement.
        georeference: position of the scene on the ground, or None if unknown.
    """

    cube: Cube
    wavelengths: NDArray[np.float64] | None = None
    no_data: int | None = None
    georeference: Georeference | None = None

    def __post_init__(self) -> None:
        if self.cube.ndim != 3:
            raise SceneError(f"a scene has 3 axes (line, sample, band); this array has shape {self.cube.shape}")
        if self.cube.size == 0:
            raise SceneError(f"the scene is empty: shape {self.cube.shape}")
        if self.cube.dtype not in SUPPORTED_DTYPES:
            raise SceneError(
                f"the scene holds {self.cube.dtype}; digital numbers must be one of "
                f"{', '.join(map(str, SUPPORTED_DTYPES))}: scale and round it first"
            )
        if self.wavelengths is not None:
            if self.wavelengths.shape != (self.cube.shape[2],):
                raise SceneError(
                    f"{self.wavelengths.size} wavelengths for {self.cube.shape[2]} bands; one in nm per band is needed"
                )
            if not np.isfinite(self.wavelengths).all() or (self.wavelengths <= 0).any():
                raise SceneError("a wavelength is not a positive number of nm")
        if self.no_data is not None:
            check_digital_number("no-data value", self.no_data, self.cube.dtype)

    @property
    def bit_depth(self) -> int:
        """Bits of a sample in the raw scene, N_b of eq. 4."""
        return self.cube.dtype.itemsize * 8


def check_digital_number(name: str, value: int, dtype: np.dtype[Any]) -> None:
    """Refuse a value that a scene of this type cannot hold.

    Raises:
        SceneError: the value is outside the range of the type.
    """
    limits = np.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise SceneError(f"the {name} is {value}; {dtype} holds {limits.min}..{limits.max}")


def next_to_marked(value: int, marked: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Return the unmarked value that replaces a computed measurement equal to a marked value.

    The search goes down from a positive `value` and up from another one, and turns round at the end of the type.

    >>> next_to_marked(65535, [65535, 65534], np.dtype(np.uint16))
    65533
    """
    limits = np.iinfo(dtype)
    step = -1 if value > 0 else 1
    nearest = value
    while nearest in marked:
        nearest += step
        if not limits.min <= nearest <= limits.max:
            nearest, step = value, -step
    return nearest


def integer_cube(values: NDArray[Any]) -> Cube:
    """Return the values as integers; accept any numeric array of whole numbers that fit 16 bits.

    Many archives keep digital numbers in floating-point files. NaN, infinities and fractions are refused: they are not
    digital numbers, and a codec must not guess the meaning.

    Raises:
        SceneError: a value is not a digital number; the message gives the first position.
    """
    native = values.dtype.newbyteorder("=")
    if values.ndim != 3 or native in SUPPORTED_DTYPES:
        return values.astype(native, copy=False)  # Scene checks the rest
    if values.dtype.kind not in "fiu":
        raise SceneError(f"the scene holds {values.dtype}, not numbers")
    if values.dtype.kind == "f":
        for fault, bad in (("not finite", ~np.isfinite(values)), ("not a whole number", values != np.rint(values))):
            if bad.any():
                line, sample, band = np.unravel_index(int(bad.argmax()), values.shape)
                raise SceneError(
                    f"{int(bad.sum())} values are {fault}, the first at line {line}, sample {sample}, band {band}; "
                    "digital numbers are integers: mask or scale and round them first"
                )
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for dtype in (np.dtype(np.uint16), np.dtype(np.int16)):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return values.astype(dtype)
    raise SceneError(f"values reach from {low} to {high}; 16 bits hold 0..65535 or -32768..32767")


MEAN_SPECTRUM_LINES = 512
MAX_EXTRAPOLATION_NM = 100.0


def mean_spectrum(scene: Scene) -> NDArray[np.integer[Any]]:
    """Return the mean spectrum of a scene, (band,), rounded to digital numbers of the type of the scene.

    At most MEAN_SPECTRUM_LINES lines are read, evenly spread over the scene.
    """
    lines = np.unique(np.linspace(0, len(scene.cube) - 1, MEAN_SPECTRUM_LINES).astype(np.intp))
    return mean_of_lines((scene.cube[line] for line in lines), scene.no_data)


def mean_of_lines(lines: Iterable[Cube], no_data: int | None) -> NDArray[np.integer[Any]]:
    """Return the mean spectrum of lines, (band,), rounded to digital numbers of the type of the lines.

    Args:
        lines: (sample, band) each.
        no_data: value of the samples to ignore. A band without any measurement has the mean 0.
    """
    total: NDArray[np.int64] | int = 0
    count: NDArray[np.int64] | int = 0
    dtype: np.dtype[Any] = np.dtype(np.int64)
    for line in lines:
        dtype = line.dtype
        if no_data is None:
            # The sum of 2**16 values of 16 bits fits 32 bits, and takes half the time of a 64-bit sum.
            octets = 4 if len(line) <= 2**16 else 8
            total = total + line.sum(axis=0, dtype=f"{line.dtype.kind}{octets}").astype(np.int64)
            count = count + len(line)
        else:
            valid = line != no_data
            total = total + np.sum(line, axis=0, dtype=np.int64, where=valid)
            count = count + valid.sum(axis=0)
    mean: NDArray[np.float64] = np.rint(total / np.maximum(count, 1))
    return mean.astype(dtype)


def resample_bands(scene: Scene, wavelengths: NDArray[np.float64]) -> Scene:
    """Resample a scene to other band centres, by linear interpolation over wavelength.

    Args:
        scene: scene with known wavelengths, in any order.
        wavelengths: (band,) new band centres in nm. Up to 100 nm outside the range of the scene, its first or last
            band is repeated.

    Returns:
        Scene of the same type, rounded to the nearest digital number. Bands without any data are ignored. A sample has
        no data if one of the samples that it is interpolated from has no data.

    Raises:
        SceneError: the scene has no wavelengths, or the new band centres lie too far outside their range.
    """
    if scene.wavelengths is None:
        raise SceneError(f"the scene gives no wavelengths, so its {scene.cube.shape[2]} bands cannot be resampled")
    present = np.ones(len(scene.wavelengths), bool)
    if scene.no_data is not None:
        present = np.logical_or.reduce([(line != scene.no_data).any(axis=0) for line in scene.cube])
        if not present.any():
            raise SceneError(f"every sample is the no-data value {scene.no_data}")
    centres = scene.wavelengths[present]
    low, high = float(centres.min()), float(centres.max())
    if wavelengths.min() < low - MAX_EXTRAPOLATION_NM or wavelengths.max() > high + MAX_EXTRAPOLATION_NM:
        raise SceneError(
            f"the scene's bands lie at {low:g} to {high:g} nm and the bundle's at {wavelengths.min():g} to "
            f"{wavelengths.max():g} nm; correct its wavelengths (are they in µm?) or use a bundle made for its sensor"
        )
    order = np.argsort(centres, kind="stable")
    # Interpolation is linear in the spectrum, so one (source band, target band) matrix serves all pixels.
    weights = np.stack([np.interp(wavelengths, centres[order], unit) for unit in np.eye(len(order))])
    # Always C order: the last bits of a matrix product depend on the order in memory.
    source = np.ascontiguousarray(scene.cube[..., np.flatnonzero(present)[order]])
    cube = np.rint(source.astype(np.float64) @ weights).astype(scene.cube.dtype)
    if scene.no_data is not None:
        cube[cube == scene.no_data] = next_to_marked(scene.no_data, [scene.no_data], cube.dtype)
        missing = (source == scene.no_data).astype(np.float32) @ (weights > 0).astype(np.float32) > 0
        cube[missing] = scene.no_data
    return replace(scene, cube=cube, wavelengths=np.asarray(wavelengths, np.float64))


def nearest_bands(nm: tuple[float, ...], bands: int, wavelengths: NDArray[np.float64] | None) -> list[int]:
    """Return the index of the band nearest to each wavelength.

    Args:
        nm: wavelengths to look for.
        bands: number of bands.
        wavelengths: (band,) band centres in nm; None spreads the bands evenly over TYPICAL_RANGE_NM.
    """
    centres = np.linspace(*TYPICAL_RANGE_NM, bands) if wavelengths is None else wavelengths
    return [int(np.abs(centres - wanted).argmin()) for wanted in nm]
