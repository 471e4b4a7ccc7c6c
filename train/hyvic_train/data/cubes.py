"""Cubes that training cuts squares from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from hyvic_runtime.errors import SceneError
from numpy.typing import NDArray

from hyvic_train.data.no_data import FreeArea, free_corners, largest_rectangle
from hyvic_train.training_data import TrainingData

WHOLE = slice(None)
Part = Literal["train", "val", "test"]
"""Part of a data set: to train on, to choose the best weights with, to measure at the end."""


class PixelSource(Protocol):
    """Stored cube whose parts can be read alone."""

    def read(self, lines: slice, samples: slice) -> NDArray[np.float32]:
        """Read a part as (band, line, sample) digital numbers, NaN in every band of a pixel without data."""
        ...

    def stored_sha256(self) -> str:
        """Return the content hash of the pixels as they are stored; see `content_sha256`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCube:
    """Scene or patch as training and validation use it, read at every use: a data set may be larger than memory.

    Attributes:
        name: name of the file without its suffix; unique in its data set.
        size: number of lines and samples.
        pixels: number of pixels with data, as far as is known: the weight among other scenes.
        source: place of the pixels.
        free: area without no-data; None: the cube has no no-data, or nobody has looked.
    """

    name: str
    size: tuple[int, int]
    pixels: int
    source: PixelSource
    free: FreeArea | None = None
    _sha256: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def read_sha256(self) -> str | None:
        """Content hash of the stored pixels, taken when any of them is read first; None before."""
        return self._sha256[0] if self._sha256 else None

    def _read(self, lines: slice, samples: slice) -> NDArray[np.float32]:
        if not self._sha256:
            self._sha256[:] = [self.source.stored_sha256()]
        return self.source.read(lines, samples)

    @property
    def cube(self) -> NDArray[np.float32]:
        """Largest rectangle free of no-data, (band, line, sample) digital numbers."""
        if self.free is not None:
            return self._read(*self.free.rectangle)
        whole = self._read(WHOLE, WHOLE)
        valid = ~np.isnan(whole[0])
        if valid.all():
            return whole
        lines, samples = largest_rectangle(valid)
        if lines.stop == lines.start:
            raise SceneError(f"{self.name} holds no-data only; name it under data.exclude")
        return whole[:, lines, samples]

    def largest_side(self, crop: int) -> int:
        """Return the largest side that `square` may be asked for, given that `crop` must be possible.

        It is the smallest axis, or `crop` with no-data: only squares of `crop` are known to be free of no-data.
        """
        return min(self.size) if self.free is None else crop

    def square(self, side: int, rng: np.random.Generator) -> NDArray[np.float32] | None:
        """Cut a random square free of no-data, (band, side, side) digital numbers; None without any."""
        if self.free is not None:
            corners = self.free.corners
        else:
            square = self._read(*_anywhere(self.size, side, rng))
            if not np.isnan(square[0]).any():
                return square
            if self.size == (side, side):
                return None
            corners = free_corners(~np.isnan(self._read(WHOLE, WHOLE)[0]), side)
        if not len(corners):
            return None
        line, sample = corners[rng.integers(len(corners))]
        return self._read(slice(line, line + side), slice(sample, sample + side))


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSplit:
    """Scenes or patches to train on, and others only to measure.

    Pixels are read at every use of `cube`, and an archive may be larger than memory: hold one cube at a time.
    """

    training: tuple[TrainingCube, ...]
    validation: tuple[TrainingCube, ...]

    def read_so_far(self) -> TrainingData:
        """Return names and content hashes of the cubes of which this process has read a pixel."""
        training, validation = (
            {sha256: cube.name for cube in cubes if (sha256 := cube.read_sha256) is not None}
            for cubes in (self.training, self.validation)
        )
        return TrainingData(training=training, validation=validation)


def _anywhere(size: tuple[int, ...], side: int, rng: np.random.Generator) -> tuple[slice, slice]:
    line, sample = (int(rng.integers(length - side + 1)) for length in size)
    return slice(line, line + side), slice(sample, sample + side)
