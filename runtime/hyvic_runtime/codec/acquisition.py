"""Properties of a scene that an encoder needs before the first line.

A stored scene is fully known. During an acquisition, the number of lines and the mean spectrum are not known yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import SceneError
from hyvic_runtime.packets.scene_header import MAX_LINES, MAX_SAMPLES
from hyvic_runtime.scene.georeference import Georeference
from hyvic_runtime.scene.scene import SUPPORTED_DTYPES, Cube, check_digital_number

MAX_SCENE_ID = 2**32 - 1


class Interleave(StrEnum):
    """Order of the axes of the lines that a sensor delivers."""

    BIP = "bip"
    """(line, sample, band)"""
    BIL = "bil"
    """(line, band, sample)"""
    BSQ = "bsq"
    """(band, line, sample)"""


_TO_BIP = {Interleave.BIP: (0, 1, 2), Interleave.BIL: (0, 2, 1), Interleave.BSQ: (1, 2, 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """Properties of a scene that are known before its first line.

    Attributes:
        samples: number of samples of a line.
        dtype: type of the digital numbers, 8 or 16 bits; its size is the bit depth.
        bands: number of bands; None for the number of the bundle, if the bundle has a fixed one.
        lines: number of lines of the scene; None if unknown, so that a scene end unit gives the number later.
        mean_spectrum: (band,) of type `dtype`, subtracted from every spectrum; None for the mean of the first row of
            tiles, because only these lines are known when the scene header is written.
        no_data: value of samples without a measurement. They do not count in the mean, are filled before coding, and
            are restored exactly.
        saturated: value of saturated samples, which are restored exactly.
        wavelengths: (band,) in nm, if they differ from the wavelengths of the bundle.
        georeference: position of the scene on the ground.
        scene_id: identifier in every packet; None for a checksum of the header and of lines of the first row of tiles.
    """

    samples: int
    dtype: np.dtype[Any]
    bands: int | None = None
    lines: int | None = None
    mean_spectrum: NDArray[np.integer[Any]] | None = None
    no_data: int | None = None
    saturated: int | None = None
    wavelengths: NDArray[np.float64] | None = None
    georeference: Georeference | None = None
    scene_id: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in SUPPORTED_DTYPES:
            raise SceneError(
                f"the scene holds {self.dtype}; digital numbers must be one of {', '.join(map(str, SUPPORTED_DTYPES))}"
            )
        for name, value, most in (("samples", self.samples, MAX_SAMPLES), ("lines", self.lines, MAX_LINES)):
            if value is not None and value < 1:
                raise SceneError(f"the scene has {value} {name}; at least 1 is needed")
            if value is not None and value > most:
                raise SceneError(f"the scene has {value} {name}; a scene header holds at most {most}: cut the scene")
        if self.scene_id is not None and not 0 <= self.scene_id <= MAX_SCENE_ID:
            raise SceneError(f"scene id {self.scene_id} is outside 0..{MAX_SCENE_ID}")
        if self.wavelengths is not None:
            wrong = self.wavelengths[~(np.isfinite(self.wavelengths) & (self.wavelengths > 0))]
            if wrong.size:
                raise SceneError(f"a wavelength is {wrong[0]:g} nm; a positive number is needed")
        for name, value in (("no-data value", self.no_data), ("saturated value", self.saturated)):
            if value is not None:
                check_digital_number(name, value, self.dtype)
        if self.no_data is not None and self.no_data == self.saturated:
            raise SceneError(f"{self.no_data} cannot mean both no data and saturation")

    def lines_of(self, lines: NDArray[np.integer[Any]], interleave: Interleave, bands: int) -> Cube:
        """Return a view (line, sample, band) of lines in the order of the sensor.

        Args:
            lines: integers of any size and byte order whose values fit `dtype`; a single BIP or BIL line may have only
                2 axes.
            interleave: order of the axes.
            bands: number of bands of the scene.

        Raises:
            SceneError: the shape is wrong, the values are not integers, or they do not fit `dtype`.
        """
        if lines.ndim == 2 and interleave != Interleave.BSQ:
            lines = lines[None]
        if lines.ndim != 3:
            raise SceneError(f"lines of shape {lines.shape} are not {interleave} lines, which have 3 axes")
        cube = lines.transpose(_TO_BIP[interleave])
        if cube.shape[1:] != (self.samples, bands):
            raise SceneError(
                f"lines of {cube.shape[1]} samples and {cube.shape[2]} bands came for a scene of {self.samples} and "
                f"{bands}; is their interleave {interleave}?"
            )
        if cube.dtype.kind not in "iu":
            raise SceneError(f"the lines hold {cube.dtype}; digital numbers are integers")
        if cube.size and not np.can_cast(cube.dtype, self.dtype, "safe"):
            low, high, limits = int(cube.min()), int(cube.max()), np.iinfo(self.dtype)
            if low < limits.min or high > limits.max:
                raise SceneError(f"values reach from {low} to {high}; {self.dtype} holds {limits.min}..{limits.max}")
        return cube
