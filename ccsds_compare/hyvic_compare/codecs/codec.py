"""Protocols of codecs, and the budget that all must keep."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

from hyvic_runtime.scene.scene import Cube, Scene


class NamedCodec(Protocol):
    """Common part of all codecs."""

    @property
    def name(self) -> str:
        """Name for tables and legends."""
        ...

    @property
    def identity(self) -> str:
        """Settings and versions that its streams depend on beside the scene; a key of kept measurements."""
        ...

    def decode(self, stream: bytes) -> Cube:
        """Return the cube, in the scene's shape and type.

        Raises:
            DecodeError: the stream is damaged, or another codec wrote it.
        """
        ...


class Codec(NamedCodec, Protocol):
    """A lossy codec with a target."""

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        """Return a complete stream of at most `octet_budget` octets.

        Raises:
            TargetRatioError: this codec cannot make the stream that short.
        """
        ...


@runtime_checkable
class LosslessCodec(NamedCodec, Protocol):
    """A codec that gives the cube back exactly, without a budget."""

    def encode_losslessly(self, scene: Scene) -> bytes:
        """Return a complete stream."""
        ...


@runtime_checkable
class LoadedCodec(NamedCodec, Protocol):
    """A codec that first loads data for all its streams, such as a model."""

    def load(self) -> None:
        """Load the data; `encode` and `decode` load it if this was not called."""
        ...


def octet_budget(scene: Scene, target_ratio: float) -> int:
    """Return the octets that a stream may have at a compression ratio (seed paper, eq. 4)."""
    if not (math.isfinite(target_ratio) and target_ratio > 0):
        raise ValueError(f"a compression ratio of {target_ratio} is not possible; it must be a positive number")
    return math.floor(scene.cube.size * scene.bit_depth / 8 / target_ratio)
