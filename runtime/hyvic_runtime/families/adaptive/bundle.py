"""The deployment bundle of the scene-adaptive family: a network of contexts, and the tables that it chooses from.

    BUNDLE/manifest.json                 AdaptiveManifest, and the SHA-256 of every other file
    BUNDLE/contexts.onnx                 contexts → scale indices, means, gains
    BUNDLE/contexts-weights.npy          the same network's weights and rows, see `context_weights`
    BUNDLE/contexts-rows.npy
    BUNDLE/table-first.npy …-length.npy …-frequencies.npy     frequency tables, rows as in `table_rows`
    BUNDLE/conformance-contexts.npy      inputs of the conformance vectors
    BUNDLE/report.json                   what the export measured, for people

Everything that a scene needs beside this travels with the scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.bundle_files import (
    REPORT,
    TABLES,
    canonical_sha256,
    check_peak,
    check_pinned,
    check_texts,
    check_whole_numbers,
    not_of_this_version,
    read_array,
    read_manifest,
    read_tables,
    spelt,
)
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.errors import BundleError
from hyvic_runtime.families.adaptive.context_weights import ContextWeights
from hyvic_runtime.families.adaptive.contexts import CONTEXT_VERSION, CONTEXTS
from hyvic_runtime.families.adaptive.planes import LEVELS
from hyvic_runtime.families.adaptive.table_choice import ESCAPE_OCTETS, FRACTIONS, ROWS, SCALES
from hyvic_runtime.kernels import KernelKind
from hyvic_runtime.packets.scene_header import BUNDLE_ID_OCTETS
from hyvic_runtime.scene.tile_grid import TileGeometry

ADAPTIVE = "adaptive"
"""The family's name."""
FORMAT_VERSION = 3
CONTEXT_NETWORK = "contexts.onnx"
WEIGHTS, ROWS_OF_WEIGHTS = "contexts-weights.npy", "contexts-rows.npy"
CONFORMANCE = "conformance-contexts.npy"
FILES = (CONTEXT_NETWORK, WEIGHTS, ROWS_OF_WEIGHTS, *TABLES, CONFORMANCE)
"""Beside the manifest and the report."""
ALL_FILES = (*FILES, REPORT)
"""Every file that a bundle of this family may have beside its manifest."""
DEFAULT_TILE = 256
_CELL = 1 << LEVELS
_REACH = 3
"""Approximation coefficients on either side that a pixel's synthesis reads, at most; or of finer levels what lies in
their place. At level l its low-pass filter, of 7 taps, reads 3 (1 - 2**-l) on either side, and the high-pass one of the
coarsest level, of 9, less than 4."""
_NOT_IDENTITY = ("provenance", "engines", "extras")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveManifest:
    """What a bundle is, and what made it.

    Attributes:
        tile: lines and samples of a tile; a row of tiles is a strip, with a basis and a wavelet of its own.
        scales: number of scale indices.
        fractions: positions of a mean between two symbols that have tables of their own.
        contexts: integers that describe a coefficient.
        context_version: what they mean.
        widths: `ContextWeights`'s.
        peak: largest digital number, for PSNR.
        conformance: SHA-256 of each conformance vector's outputs (scale indices, means in steps, gains, as
            little-endian int32).
        coder_sha256: SHA-256 of what the entropy coder made of every symbol of every table.
        provenance: checkpoint hash, tool versions, command: for people.
        files: name → SHA-256 of FILES: what the codec is.
        engines: none; nothing of it is compiled.
        extras: name → SHA-256 of the report where there is one: nothing that codes reads it.
        family: ADAPTIVE.
    """

    tile: int
    scales: int
    fractions: int
    contexts: int
    context_version: int
    widths: tuple[int, ...]
    peak: float
    conformance: tuple[str, ...]
    coder_sha256: str
    provenance: dict[str, str]
    files: dict[str, str]
    engines: None = None
    extras: dict[str, str] = field(default_factory=dict)
    family: str = ADAPTIVE

    def __post_init__(self) -> None:
        check_whole_numbers(
            self,
            ("tile", _CELL, 2**12),
            ("scales", 1, 2**8),
            ("fractions", 1, 2**8),
            ("contexts", 1, 2**16),
            ("context_version", 1, 2**16),
        )
        if self.tile % _CELL:
            raise ValueError(f"tile is {self.tile}; a multiple of {_CELL} is needed")
        check_peak(self.peak)
        if self.family != ADAPTIVE or self.engines is not None:
            raise ValueError(f"family and engines are {self.family!r} and {self.engines!r}")
        if self.files.keys() != set(FILES) or not self.extras.keys() <= {REPORT}:
            raise ValueError("its files are not those of this format")
        check_texts(
            self.coder_sha256,
            *self.conformance,
            *self.files.values(),
            *self.extras.values(),
            *self.provenance.values(),
        )

    @property
    def geometry(self) -> TileGeometry:
        """Sizes along an axis: an approximation coefficient is the latent, and a tile reads no pixel of another."""
        return TileGeometry(
            tile=self.tile,
            latent_stride=_CELL,
            hyper_stride=_CELL,
            halo_before=0,
            halo_after=0,
            latent_halo_before=_REACH,
            latent_halo_after=_REACH,
        )

    @property
    def wavelengths(self) -> None:
        """None: scenes have their own."""
        return

    @property
    def rates(self) -> int:
        """More than one: steps are continuous."""
        return 2

    @property
    def pinned(self) -> dict[str, str]:
        """Name → SHA-256 of every other file of the bundle."""
        return self.files | self.extras


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveBundle:
    """A bundle whose every file was found as its manifest pins it.

    Attributes:
        folder: where its graph lies.
        manifest: what it is.
        identity: SHA-256 of what a stream is decoded with: the manifest without provenance, engines and extras. Its
            first eight octets name the bundle in a stream.
        weights: of the network.
        tables: frequency tables, ROWS of them.
        conformance: contexts of the conformance vectors, (vector, CONTEXTS, line, sample) int16.
    """

    folder: Path
    manifest: AdaptiveManifest
    identity: bytes
    weights: ContextWeights
    tables: FrequencyTables
    conformance: NDArray[np.int16]

    @property
    def stream_id(self) -> bytes:
        """What names this bundle in a scene header."""
        return self.identity[:BUNDLE_ID_OCTETS]

    def entropy_coder(self, kernels: KernelKind | None = None) -> EntropyCoder:
        """Make a coder of its tables; see `chosen_kernels`."""
        return EntropyCoder(self.tables, kernels, escape_octets=ESCAPE_OCTETS)


def manifest_bytes(manifest: AdaptiveManifest) -> bytes:
    """The manifest file."""
    return spelt(FORMAT_VERSION, asdict(manifest))


def read_adaptive_bundle(folder: Path) -> AdaptiveBundle:
    """Load a bundle of the scene-adaptive family.

    Raises:
        BundleError: as `adaptive_bundle`; or the bundle is of another family.
    """
    version, document = read_manifest(folder)
    if document.get("family") != ADAPTIVE:
        raise BundleError(f"{folder} is of the family {document.get('family')}, which is not scene-adaptive")
    return adaptive_bundle(folder, version, document)


def adaptive_bundle(folder: Path, version: int, document: Mapping[str, Any]) -> AdaptiveBundle:
    """Load a bundle whose manifest was read, and check every octet of it.

    Args:
        folder: of the bundle.
        version: of its format.
        document: its manifest's other entries.

    Raises:
        BundleError: a file is missing or altered, or the network knows other contexts than this runtime.
    """
    try:
        if version != FORMAT_VERSION or document.keys() != {field.name for field in fields(AdaptiveManifest)}:
            raise ValueError("its entries are not this format's")
        manifest = AdaptiveManifest(
            **{**document, "conformance": tuple(document["conformance"]), "widths": tuple(document["widths"])}
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise not_of_this_version(folder, error) from error
    if manifest.context_version != CONTEXT_VERSION:
        raise BundleError(
            f"{folder} knows contexts of version {manifest.context_version}, this runtime makes version "
            f"{CONTEXT_VERSION}; use the release that exported it"
        )
    check_pinned(folder, manifest.pinned)
    weights, rows = read_array(folder / WEIGHTS, np.int16), read_array(folder / ROWS_OF_WEIGHTS, np.int32)
    try:
        network = ContextWeights(widths=manifest.widths, weights=weights, rows=rows)
    except ValueError as error:
        raise BundleError(f"{folder}: its weights are no network's ({error}); export the bundle again") from error
    tables = read_tables(folder)
    conformance = read_array(folder / CONFORMANCE, np.int16)
    found = (manifest.scales, manifest.fractions, manifest.contexts, len(tables.first), *conformance.shape[:2])
    if conformance.ndim != 4 or found != (SCALES, FRACTIONS, CONTEXTS, ROWS, len(manifest.conformance), CONTEXTS):
        raise BundleError(f"{folder}: tables or conformance vectors do not fit the manifest; export the bundle again")
    return AdaptiveBundle(
        folder=folder,
        manifest=manifest,
        identity=canonical_sha256({name: value for name, value in document.items() if name not in _NOT_IDENTITY}),
        weights=network,
        tables=tables,
        conformance=conformance,
    )
