"""Deployment bundle of the scene-adaptive family: a context network, and the tables that it chooses from.

    BUNDLE/manifest.json                 AdaptiveManifest, with the SHA-256 of every other file
    BUNDLE/contexts.onnx                 contexts → scale indices, means, gains
    BUNDLE/contexts-weights.npy          weights and rows of this network, see `context_weights`
    BUNDLE/contexts-rows.npy
    BUNDLE/table-first.npy …-length.npy …-frequencies.npy     frequency tables, rows as in `table_choice`
    BUNDLE/conformance-contexts.npy      inputs of the conformance vectors
    BUNDLE/report.json                   measurements of the export, for people; see `seen_scenes` too

Everything else that a decoder needs travels with the scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.bundle import Bundle, Manifest
from hyvic_runtime.codec.bundle_files import (
    REPORT,
    TABLES,
    check_pinned,
    check_whole_numbers,
    not_of_this_version,
    read_array,
    read_manifest,
    read_tables,
)
from hyvic_runtime.engines.selection import EngineSet
from hyvic_runtime.errors import BundleError
from hyvic_runtime.families.adaptive.context_weights import ContextWeights
from hyvic_runtime.families.adaptive.contexts import CONTEXT_VERSION, CONTEXTS
from hyvic_runtime.families.adaptive.planes import LEVELS
from hyvic_runtime.families.adaptive.table_choice import ESCAPE_OCTETS, FRACTIONS, ROWS, SCALES
from hyvic_runtime.scene.tile_grid import TileGeometry

ADAPTIVE = "adaptive"
"""Name of the family."""
FORMAT_VERSION = 3
CONTEXT_NETWORK = "contexts.onnx"
WEIGHTS, ROWS_OF_WEIGHTS = "contexts-weights.npy", "contexts-rows.npy"
CONFORMANCE = "conformance-contexts.npy"
FILES = (CONTEXT_NETWORK, WEIGHTS, ROWS_OF_WEIGHTS, *TABLES, CONFORMANCE)
"""Names of the files beside the manifest and the report."""
ALL_FILES = (*FILES, REPORT)
"""Names of every file that a bundle may have beside its manifest."""
DEFAULT_TILE = 256
_CELL = 1 << LEVELS
_REACH = 3
"""Largest number of low-pass coefficients on either side that the synthesis of a pixel reads. Finer levels read the
same area. At level l the low-pass filter, of 7 taps, reads 3 (1 - 2**-l) on either side. The high-pass filter of the
coarsest level, of 9 taps, reads less than 4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveManifest(Manifest):
    """Facts about a bundle and its origin; see `Manifest` for those that every family has.

    Attributes:
        tile: lines and samples of a tile; a row of tiles is a strip, with its own basis and wavelet transform.
        fractions: number of positions of a mean between two symbols; each has its own tables.
        contexts: number of integers that describe a coefficient.
        context_version: version of the meaning of these integers.
        widths: widths of the network's layers, see `ContextWeights`.
        conformance: SHA-256 of each conformance vector's outputs: scale indices, means in steps and gains, as
            little-endian int32.
        files: name → SHA-256 of FILES: the files that define the codec.
        engines: always None; no graph is compiled.
        extras: name → SHA-256 of the report, if there is one.
    """

    format_version: ClassVar[int] = FORMAT_VERSION
    not_identity: ClassVar[tuple[str, ...]] = ("provenance", "engines", "extras")
    # No entries of the file: a scene may have any bands and band centres, and steps are continuous, so rates are many.
    bands = None
    wavelengths = None
    rates = 2

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
    engines: EngineSet | None = None
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
        if self.family != ADAPTIVE or self.engines is not None:
            raise ValueError(f"family and engines are {self.family!r} and {self.engines!r}")
        if self.files.keys() != set(FILES) or not self.extras.keys() <= {REPORT}:
            raise ValueError("its files are not those of this format")
        self.check_common_fields()

    @property
    def geometry(self) -> TileGeometry:
        """Sizes along an axis: a low-pass coefficient takes the place of a latent; tiles share no pixels."""
        return TileGeometry(
            tile=self.tile,
            latent_stride=_CELL,
            hyper_stride=_CELL,
            halo_before=0,
            halo_after=0,
            latent_halo_before=_REACH,
            latent_halo_after=_REACH,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveBundle(Bundle):
    """A bundle of the scene-adaptive family; see `Bundle`. Its tables have ROWS rows.

    Attributes:
        weights: weights of the network.
        conformance: contexts of the conformance vectors, (vector, CONTEXTS, line, sample) int16.
    """

    manifest: AdaptiveManifest
    weights: ContextWeights
    conformance: NDArray[np.int16]
    escape_octets: ClassVar[int] = ESCAPE_OCTETS


def read_adaptive_bundle(folder: Path) -> AdaptiveBundle:
    """Load a bundle of the scene-adaptive family.

    Raises:
        BundleError: see `adaptive_bundle`; or the bundle has another family.
    """
    version, document = read_manifest(folder)
    if document.get("family") != ADAPTIVE:
        raise BundleError(f"{folder} is of the family {document.get('family')}, which is not scene-adaptive")
    return adaptive_bundle(folder, version, document)


def adaptive_bundle(folder: Path, version: int, document: Mapping[str, Any]) -> AdaptiveBundle:
    """Load a bundle after its manifest, and check every octet of it.

    Args:
        folder: folder of the bundle.
        version: version of its format.
        document: other entries of its manifest.

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
        identity=AdaptiveManifest.identity_of(document),
        weights=network,
        tables=tables,
        conformance=conformance,
    )
