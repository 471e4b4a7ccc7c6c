"""The scene: a cube of digital numbers and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import SceneError

Cube = NDArray[np.integer[Any]]
SUPPORTED_DTYPES = tuple(np.dtype(name) for name in ("uint8", "int8", "uint16", "int16"))

TRUE_COLOUR_NM = (650.0, 560.0, 470.0)
TYPICAL_RANGE_NM = (400.0, 2500.0)
"""Of the field's sensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A hyperspectral image.

    Attributes:
        cube: (line, sample, band) integer digital numbers, 8 or 16 bits; may be memory-mapped.
        wavelengths: (band,) band centres in nm, or None where the file gives none.
    """

    cube: Cube
    wavelengths: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.cube.ndim != 3:
            raise SceneError(f"a scene has 3 axes (line, sample, band); this one has shape {self.cube.shape}")
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

    @property
    def bit_depth(self) -> int:
        """N_b of eq. 4: bits a sample takes in the raw scene."""
        return self.cube.dtype.itemsize * 8


def integer_cube(values: NDArray[Any]) -> Cube:
    """Accept any numeric array whose values are whole numbers that fit 16 bits.

    Many archives keep digital numbers in floating-point files. NaN, infinities and fractions are refused:
    they are no digital numbers, and a codec must not decide what was meant.

    Raises:
        SceneError: with the first offending position.
    """
    native = values.dtype.newbyteorder("=")
    if values.ndim != 3 or native in SUPPORTED_DTYPES:
        return values.astype(native, copy=False)  # Scene checks the rest
    if values.dtype.kind not in "fiu":
        raise SceneError(f"the scene holds {values.dtype}, not numbers")
    if values.dtype.kind == "f":
        for what, bad in (("not finite", ~np.isfinite(values)), ("not a whole number", values != np.rint(values))):
            if bad.any():
                line, sample, band = np.unravel_index(int(bad.argmax()), values.shape)
                raise SceneError(
                    f"{int(bad.sum())} values are {what}, the first at line {line}, sample {sample}, band {band}; "
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
    """The scene's mean spectrum in whole digital numbers and the scene's type, (band,).

    Of a scene longer than MEAN_SPECTRUM_LINES as many lines are read, evenly spread.
    """
    lines = np.unique(np.linspace(0, len(scene.cube) - 1, MEAN_SPECTRUM_LINES).astype(np.intp))
    total = np.sum([scene.cube[line].sum(axis=0, dtype=np.int64) for line in lines], axis=0)
    mean: NDArray[np.float64] = np.rint(total / (len(lines) * scene.cube.shape[1]))
    return mean.astype(scene.cube.dtype)


def resample_bands(scene: Scene, wavelengths: NDArray[np.float64]) -> Scene:
    """The scene on another band grid, by linear interpolation over wavelength.

    Args:
        scene: must know its wavelengths; they need not be in order.
        wavelengths: (band,) centres wanted, in nm. Up to 100 nm beyond the scene's range its outermost band is
            repeated.

    Returns:
        A scene of the same type, rounded to the nearest digital number.

    Raises:
        SceneError: the scene has no wavelengths, or they do not reach as far as those wanted.
    """
    if scene.wavelengths is None:
        raise SceneError(f"the scene gives no wavelengths, so its {scene.cube.shape[2]} bands cannot be resampled")
    low, high = float(scene.wavelengths.min()), float(scene.wavelengths.max())
    if wavelengths.min() < low - MAX_EXTRAPOLATION_NM or wavelengths.max() > high + MAX_EXTRAPOLATION_NM:
        raise SceneError(
            f"the scene's bands lie at {low:g} to {high:g} nm and those wanted at {wavelengths.min():g} to "
            f"{wavelengths.max():g} nm; correct its wavelengths (are they in µm?) or use a bundle made for its sensor"
        )
    order = np.argsort(scene.wavelengths, kind="stable")
    # Interpolation is linear in the spectrum, so it is one (source band, target band) matrix for all pixels.
    weights = np.stack([np.interp(wavelengths, scene.wavelengths[order], row) for row in np.eye(len(order))])
    # C order, whatever the file's: a matrix product's last bits depend on it.
    spectra = np.ascontiguousarray(scene.cube[..., order], np.float64) @ weights
    return Scene(cube=np.rint(spectra).astype(scene.cube.dtype), wavelengths=np.asarray(wavelengths, np.float64))


def nearest_bands(nm: tuple[float, ...], bands: int, wavelengths: NDArray[np.float64] | None) -> list[int]:
    """The band nearest to each wavelength; bands without known centres are taken as spread over TYPICAL_RANGE_NM."""
    centres = np.linspace(*TYPICAL_RANGE_NM, bands) if wavelengths is None else wavelengths
    return [int(np.abs(centres - wanted).argmin()) for wanted in nm]
