"""What every codec offers, and the budget that all are held to."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
from hyvic_runtime.scene.scene import Scene
from numpy.typing import NDArray

Cube = NDArray[np.integer[Any]]


class NamedCodec(Protocol):
    """What all codecs offer."""

    @property
    def name(self) -> str:
        """For tables and legends."""
        ...

    @property
    def identity(self) -> str:
        """All that its streams depend on beside the scene: settings and versions. Measurements are kept by it."""
        ...

    def decode(self, stream: bytes) -> Cube:
        """The cube, in the scene's shape and type.

        Raises:
            DecodeError: the stream is not whole or not one of this codec's.
        """
        ...


class Codec(NamedCodec, Protocol):
    """A lossy codec with a target."""

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        """A stream that `decode` needs nothing beside, of at most `octet_budget` octets.

        Raises:
            TargetRatioError: this codec cannot make the stream that short.
        """
        ...


@runtime_checkable
class LosslessCodec(NamedCodec, Protocol):
    """A codec that gives the cube back as it was, in as many octets as that takes."""

    def encode_losslessly(self, scene: Scene) -> bytes:
        """A stream that `decode` needs nothing beside."""
        ...


@runtime_checkable
class LoadedCodec(NamedCodec, Protocol):
    """A codec that first loads what all its streams share, such as a model."""

    def load(self) -> None:
        """Load it; `encode` and `decode` do so where nobody did."""
        ...


def octet_budget(scene: Scene, target_ratio: float) -> int:
    """Octets that a stream may have at a compression ratio (seed paper, eq. 4)."""
    if not (math.isfinite(target_ratio) and target_ratio > 0):
        raise ValueError(f"a compression ratio of {target_ratio} is not possible; it must be a positive number")
    return math.floor(scene.cube.size * scene.bit_depth / 8 / target_ratio)
