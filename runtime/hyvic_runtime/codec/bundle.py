"""Common face of the bundles of all families; what else a bundle holds, its family says."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hyvic_runtime.engines.selection import EngineSet
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.kernels import KernelKind
from hyvic_runtime.scene.tile_grid import TileGeometry


class Manifest(Protocol):
    """Facts of a bundle that do not depend on its family."""

    @property
    def family(self) -> str:
        """Name of the codec family."""
        ...

    @property
    def geometry(self) -> TileGeometry:
        """Tile, strides and halos."""
        ...

    @property
    def rates(self) -> int:
        """Number of rate levels; with one, the quality has no effect."""
        ...

    @property
    def scales(self) -> int:
        """Number of scale indices."""
        ...

    @property
    def peak(self) -> float:
        """Largest digital number, for PSNR."""
        ...

    @property
    def wavelengths(self) -> tuple[float, ...] | None:
        """Band centres in nm; None where the bundle codes any."""
        ...

    @property
    def conformance(self) -> tuple[str, ...]:
        """SHA-256 of the outputs of each conformance vector."""
        ...

    @property
    def coder_sha256(self) -> str:
        """SHA-256 of what the entropy coder made of every symbol of every table."""
        ...

    @property
    def files(self) -> dict[str, str]:
        """Name → SHA-256 of the files that define the codec."""
        ...

    @property
    def engines(self) -> EngineSet | None:
        """Graphs compiled for one kind of GPU, if any."""
        ...

    @property
    def extras(self) -> dict[str, str]:
        """Name → SHA-256 of files that nothing reads while it codes."""
        ...

    @property
    def provenance(self) -> dict[str, str]:
        """Checkpoint hash, tool versions and command, for people."""
        ...


class Bundle(Protocol):
    """A bundle whose every file was found as its manifest pins it."""

    @property
    def folder(self) -> Path:
        """Folder that holds its files."""
        ...

    @property
    def manifest(self) -> Manifest:
        """Facts about the bundle."""
        ...

    @property
    def identity(self) -> bytes:
        """SHA-256 of everything that a stream is decoded with."""
        ...

    @property
    def stream_id(self) -> bytes:
        """Octets that name this bundle in a scene header."""
        ...

    @property
    def tables(self) -> FrequencyTables:
        """Frequency tables of its symbols."""
        ...

    def entropy_coder(self, kernels: KernelKind | None = None) -> EntropyCoder:
        """Make a coder of the tables; see `chosen_kernels`."""
        ...
