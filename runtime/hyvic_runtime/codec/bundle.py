"""Common part of the bundles of all families; a family adds what only its bundles hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Generic, TypeVar

from hyvic_runtime.codec.bundle_files import canonical_sha256, check_texts, spelt
from hyvic_runtime.engines.selection import EngineKind, EngineSet, default_workers, usable_cores
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_runtime.entropy.unit_coder import ESCAPE_OCTETS, EntropyCoder
from hyvic_runtime.kernels import KernelKind, chosen_kernels
from hyvic_runtime.packets.scene_header import BUNDLE_ID_OCTETS
from hyvic_runtime.scene.tile_grid import TileGeometry


class Manifest(ABC):
    """Base of the manifests of all families: facts, checks, files and spelling.

    A family's manifest is a dataclass whose fields, in its own order, are the entries of the file.

    Attributes:
        format_version: version of the family's bundle format.
        not_identity: names of entries that do not change what a stream is decoded with.
        family: name of the codec family.
        bands: number of bands; None where the bundle codes any number.
        rates: number of rate levels; with one, the quality has no effect.
        wavelengths: band centres in nm; None where the bundle codes any.
        scales: number of scale indices.
        peak: largest digital number, for PSNR.
        conformance: SHA-256 of the outputs of each conformance vector.
        coder_sha256: SHA-256 of the octets that the entropy coder made of every symbol of every table.
        provenance: checkpoint hash, tool versions and command, for people.
        files: name → SHA-256 of the files that define the codec.
        engines: graphs compiled for one kind of GPU, if any; they do not change any coded value.
        extras: name → SHA-256 of files that nothing reads while it codes.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    format_version: ClassVar[int]
    not_identity: ClassVar[tuple[str, ...]]
    family: str
    bands: int | None
    rates: int
    wavelengths: tuple[float, ...] | None
    scales: int
    peak: float
    conformance: tuple[str, ...]
    coder_sha256: str
    provenance: dict[str, str]
    files: dict[str, str]
    engines: EngineSet | None
    extras: dict[str, str]

    @property
    @abstractmethod
    def geometry(self) -> TileGeometry:
        """Tile, strides and halos."""

    def check_common_fields(self) -> None:
        """Check the fields that every family has.

        Raises:
            ValueError: one is invalid.
        """
        if type(self.peak) not in (int, float) or not 0 < self.peak < 2**32:
            raise ValueError(f"peak is {self.peak!r}; a positive number is needed")
        digests = (*self.conformance, *self.files.values(), *self.extras.values())
        check_texts(self.coder_sha256, *digests, *self.provenance.values())

    @property
    def pinned(self) -> dict[str, str]:
        """Name → SHA-256 of every other file of the bundle."""
        return self.files | self.extras | (self.engines.files if self.engines else {})

    def file_bytes(self) -> bytes:
        """Make the manifest file."""
        return spelt(self.format_version, asdict(self))

    @classmethod
    def identity_of(cls, document: Mapping[str, Any]) -> bytes:
        """Return the SHA-256 of the entries of a manifest that a stream is decoded with."""
        return canonical_sha256({name: value for name, value in document.items() if name not in cls.not_identity})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle whose every file was found as its manifest pins it.

    Attributes:
        folder: folder that holds its files.
        manifest: facts about the bundle.
        identity: SHA-256 of everything that a stream is decoded with. Two exports of one checkpoint are the same
            bundle, whoever typed the command, whatever the device and the encoder's precision.
        tables: frequency tables of its symbols.
        escape_octets: length of an escaped symbol.
    """

    folder: Path
    manifest: Manifest
    identity: bytes
    tables: FrequencyTables
    escape_octets: ClassVar[int] = ESCAPE_OCTETS

    @property
    def stream_id(self) -> bytes:
        """First octets of the identity, which name this bundle in a scene header."""
        return self.identity[:BUNDLE_ID_OCTETS]

    def entropy_coder(self, kernels: KernelKind | None = None) -> EntropyCoder:
        """Make a coder of the tables; see `chosen_kernels`."""
        return EntropyCoder(self.tables, kernels, escape_octets=self.escape_octets)


BundleT = TypeVar("BundleT", bound=Bundle)


@dataclass
class BundleUser(Generic[BundleT]):
    """Base of all encoders and decoders: a bundle, and what runs it.

    Attributes:
        bundle: bundle to code with.
        engine: library that runs its graphs; None: what the bundle was compiled for.
        workers: number of tiles to work on at a time. They share the cores: many workers give the most throughput,
            one gives the least latency of a tile.
        cores: number of processor cores that it may keep busy.
        kernels: inner loops in C or the reference; None: see `chosen_kernels`.
    """

    bundle: BundleT
    engine: EngineKind | None = None
    workers: int = field(default_factory=default_workers)
    cores: int = field(default_factory=usable_cores)
    kernels: KernelKind | None = None

    def __post_init__(self) -> None:
        self.kernels = chosen_kernels(self.kernels)
        self._lock = Lock()  # guards the counts that all workers change
