"""Facts about a scene that an encoder needs before the first line.

A stored scene is known whole. A scene that is being acquired has an unknown number of lines and mean spectrum.
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
    """Order of the axes in which lines are delivered."""

    BIP = "bip"
    """(line, sample, band)"""
    BIL = "bil"
    """(line, band, sample)"""
    BSQ = "bsq"
    """(band, line, sample)"""


_TO_BIP = {Interleave.BIP: (0, 1, 2), Interleave.BIL: (0, 2, 1), Interleave.BSQ: (1, 2, 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """A scene before its first line.

    Attributes:
        samples: of a line.
        dtype: of the digital numbers, 8 or 16 bits; its size is the bit depth.
        bands: of a pixel; None: the bundle's, where it codes no others.
        lines: of the scene, or None: as many as come, told by a scene end unit.
        mean_spectrum: (band,) in that type, what is subtracted from every spectrum; None: that of the first row of
            tiles, which is all that is known when the scene header is written.
        no_data: value of samples that hold no measurement: they do not count in the mean, are smoothed over and
            restored.
        saturated: value of samples that had too much light; they are restored.
        wavelengths: (band,) in nm, where they are not the bundle's.
        georeference: where the scene lies.
        scene_id: in every packet of the scene; None: a checksum of its header and of lines of the first row of tiles.
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
                raise SceneError(f"a scene of {value} {name} is none")
            if value is not None and value > most:
                raise SceneError(f"a scene of {value} {name}; its header holds at most {most}: cut it")
        if self.scene_id is not None and not 0 <= self.scene_id <= MAX_SCENE_ID:
            raise SceneError(f"scene {self.scene_id} is outside 0..{MAX_SCENE_ID}, what a packet holds")
        if self.wavelengths is not None:
            wrong = self.wavelengths[~(np.isfinite(self.wavelengths) & (self.wavelengths > 0))]
            if wrong.size:
                raise SceneError(f"a wavelength of {wrong[0]:g} nm; each is a positive number")
        for name, value in (("no-data value", self.no_data), ("saturated value", self.saturated)):
            if value is not None:
                check_digital_number(name, value, self.dtype)
        if self.no_data is not None and self.no_data == self.saturated:
            raise SceneError(f"{self.no_data} cannot mean both no data and saturation")

    def lines_of(self, lines: NDArray[np.integer[Any]], interleave: Interleave, bands: int) -> Cube:
        """Lines as the sensor delivers them, as a view (line, sample, band).

        Args:
            lines: integers of any size and byte order whose values fit `dtype`; one BIP or BIL line may leave out
                its axis.
            interleave: order of the axes.
            bands: of the scene.

        Raises:
            SceneError: another shape, no integers, or values that do not fit.
        """
        if lines.ndim == 2 and interleave != Interleave.BSQ:
            lines = lines[None]
        if lines.ndim != 3:
            raise SceneError(f"lines of shape {lines.shape} are no {interleave} lines, which have 3 axes")
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
