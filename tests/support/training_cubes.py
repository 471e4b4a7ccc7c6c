"""Cubes in memory for training."""

from __future__ import annotations

import hashlib

import numpy as np
from hyvic_train.data.cubes import TrainingCube
from hyvic_train.data.scene_folder import ScenePixels


def cube_in_memory(name: str, cube: np.ndarray) -> TrainingCube:
    """A cube (band, line, sample), every pixel of which has data."""
    _, lines, samples = cube.shape
    digest = hashlib.sha256(cube.tobytes()).hexdigest()  # a cube of fractions has no content hash
    pixels = ScenePixels(held=np.moveaxis(cube, 0, -1), mean=None, missing=None, sha256=digest)
    return TrainingCube(name=name, size=(lines, samples), pixels=lines * samples, source=pixels)
