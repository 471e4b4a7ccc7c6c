"""What every codec offers, and the budget that all are held to."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from hyvic_runtime.scene import Scene
from numpy.typing import NDArray

Cube = NDArray[np.integer[Any]]


class Codec(Protocol):
    """A lossy codec with a target."""

    @property
    def name(self) -> str:
        """For tables and legends."""
        ...

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        """A stream that `decode` needs nothing beside, of at most `octet_budget` octets.

        Raises:
            TargetRatioError: this codec cannot make the stream that short.
        """
        ...

    def decode(self, stream: bytes) -> Cube:
        """The cube, in the scene's shape and type.

        Raises:
            DecodeError: the stream is not whole or not one of this codec's.
        """
        ...


def octet_budget(scene: Scene, target_ratio: float) -> int:
    """Octets that a stream may have at a compression ratio (seed paper, eq. 4)."""
    if not (math.isfinite(target_ratio) and target_ratio > 0):
        raise ValueError(f"a compression ratio of {target_ratio} is not possible; it must be a positive number")
    return math.floor(scene.cube.size * scene.bit_depth / 8 / target_ratio)
