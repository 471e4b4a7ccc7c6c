"""Deployment bundle of the families with a learned latent: export writes it, orbit and ground read it.

    BUNDLE/manifest.json                 LatentManifest, with the SHA-256 of every other file
    BUNDLE/encoder.onnx                  tile → ẑ, symbols, scale indices
    BUNDLE/hyperdecoder.onnx             ẑ → scale indices, means of the latent or of its first part
    BUNDLE/slice-00.onnx …               symbols of a part of the latent → that part; scale indices, means of the next
    BUNDLE/decoder.onnx                  latents → digital numbers
    BUNDLE/table-first.npy …-length.npy …-frequencies.npy     frequency tables
    BUNDLE/conformance-hyperlatents.npy  inputs of the conformance vectors
    BUNDLE/conformance-symbols.npy       their symbols, where there are slices
    BUNDLE/gains.npy                     gains of the rate levels
    BUNDLE/report.json                   measurements of the export, for people; see `seen_scenes` too
    BUNDLE/encoder.onnx.data …           weights of a graph too large for one file
    BUNDLE/encoder.engine …              the graphs compiled by TensorRT for one kind of GPU
    BUNDLE/build-on-device.sh            builds engines on a device; expected-outputs.npz: their outputs

Rows 0 … scales - 1 of the tables code latent symbols by scale index, the next N code ẑ by channel.
"""

from __future__ import annotations

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
    check_texts,
    check_whole_numbers,
    not_of_this_version,
    read_array,
    read_manifest,
    read_tables,
)
from hyvic_runtime.engines.engine import Engine
from hyvic_runtime.engines.selection import EngineKind, EngineSet, engine_name, load_engine
from hyvic_runtime.errors import BundleError, EngineError
from hyvic_runtime.families.latent.rate_gains import RateGains
from hyvic_runtime.packets.space_packet import MAX_PARTS
from hyvic_runtime.scene.tile_grid import TileGeometry

FORMAT_VERSION = 2
_WITHOUT_SLICES = 1
"""Previous version; still read, because a bundle flies as long as its satellite."""
FAMILIES = ("hyvic", "joint")
"""Names of the families that this module reads."""
ENCODER, HYPERDECODER, DECODER = "encoder.onnx", "hyperdecoder.onnx", "decoder.onnx"
CONFORMANCE, CONFORMANCE_SYMBOLS = "conformance-hyperlatents.npy", "conformance-symbols.npy"
GAINS = "gains.npy"
BUILD_SCRIPT, EXPECTED_OUTPUTS = "build-on-device.sh", "expected-outputs.npz"
EXTRAS = (REPORT, BUILD_SCRIPT, EXPECTED_OUTPUTS)
_ENCODER_FILES = (ENCODER, f"{ENCODER}.data")


def slice_graph(index: int) -> str:
    """Name the graph that completes a part of the latent and predicts the next one."""
    return f"slice-{index:02}.onnx"


def graph_names(slices: int) -> tuple[str, ...]:
    """Name the graphs of a bundle: encoder, entropy path in the order of decoding, decoder."""
    return (ENCODER, HYPERDECODER, *map(slice_graph, range(slices)), DECODER)


def file_names(slices: int) -> tuple[str, ...]:
    """Name the files that every bundle with this number of slices has."""
    conformance = (CONFORMANCE, CONFORMANCE_SYMBOLS) if slices else (CONFORMANCE,)
    return (*graph_names(slices), *TABLES, *conformance, GAINS)


def weights_names(slices: int) -> tuple[str, ...]:
    """Name the files for weights that do not fit into the file of their graph."""
    return tuple(f"{graph}.data" for graph in graph_names(slices))


def engine_names(slices: int) -> tuple[str, ...]:
    """Name the files of the graphs compiled by TensorRT."""
    return tuple(map(engine_name, graph_names(slices)))


FILES = (*file_names(MAX_PARTS), *weights_names(MAX_PARTS), *engine_names(MAX_PARTS), *EXTRAS)
"""Names of every file that a bundle may have beside its manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentManifest(Manifest):
    """Facts about a bundle and its origin; see `Manifest` for those that every family has.

    Attributes:
        latent_channels: number of latent channels, M.
        hyperlatent_channels: number of hyper-latent channels, N.
        slices: number of graphs that complete a part of the latent, M / slices channels, and predict the next part.
            0: ẑ alone predicts the whole latent.
        mean_step_bits: a mean is a multiple of 2**-mean_step_bits quantiser steps.
        precision: arithmetic of the encoder graph's analysis, "fp32", "fp16" or "int8". The decoder needs none of it.
        mean_spectrum: True if the graphs subtract the scene's mean spectrum, which the scene header carries. Otherwise
            the mean is zero.
        conformance: SHA-256 of each conformance vector's outputs: scale indices, means in steps and, with slices,
            latents in steps, as little-endian int32.
        files: name → SHA-256 of `file_names` and of the existing `weights_names`: the files that define the codec.
        extras: name → SHA-256 of the existing EXTRAS.
    """

    format_version: ClassVar[int] = FORMAT_VERSION
    not_identity: ClassVar[tuple[str, ...]] = ("provenance", "engines", "extras", "precision")

    family: str
    bands: int  # pyright: ignore[reportIncompatibleVariableOverride]  # frozen, so a narrower type is sound
    latent_channels: int
    hyperlatent_channels: int
    rates: int
    scales: int
    mean_step_bits: int
    peak: float
    precision: str
    mean_spectrum: bool
    # Without field(), the base's property would be its default.
    geometry: TileGeometry = field()  # pyright: ignore[reportIncompatibleMethodOverride]
    wavelengths: tuple[float, ...] | None
    conformance: tuple[str, ...]
    coder_sha256: str
    provenance: dict[str, str]
    files: dict[str, str]
    slices: int = 0
    engines: EngineSet | None = None
    extras: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_whole_numbers(
            self,
            ("bands", 1, 2**16 - 1),
            ("latent_channels", 1, 2**16),
            ("hyperlatent_channels", 1, 2**16),
            ("slices", 0, MAX_PARTS),
            ("rates", 1, 256),
            ("scales", 1, 256),
            ("mean_step_bits", 0, 8),
        )
        if self.latent_channels % self.parts:
            raise ValueError(f"{self.latent_channels} latent channels do not part into {self.slices} slices")
        if type(self.mean_spectrum) is not bool:
            raise ValueError(f"mean_spectrum is {self.mean_spectrum!r}; true or false is needed")
        if self.wavelengths is not None and len(self.wavelengths) != self.bands:
            raise ValueError(f"{len(self.wavelengths)} wavelengths for {self.bands} bands")
        for wavelength in self.wavelengths or ():
            if type(wavelength) not in (int, float) or not 0 < wavelength < 2**32:
                raise ValueError(f"{wavelength!r} is no wavelength in nm")
        needed, possible = set(file_names(self.slices)), set(weights_names(self.slices))
        if not needed <= self.files.keys() <= needed | possible or not self.extras.keys() <= set(EXTRAS):
            raise ValueError("its files are not those of this format")
        compiled = engine_names(self.slices)
        if self.engines is not None and self.engines.files.keys() != set(compiled):
            raise ValueError(f"engines are {', '.join(compiled)}, not {', '.join(self.engines.files)}")
        check_texts(self.family, self.precision)
        self.check_common_fields()

    @property
    def parts(self) -> int:
        """Number of units of a tile's latent, with equal numbers of channels."""
        return max(1, self.slices)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentBundle(Bundle):
    """A bundle with a learned latent; see `Bundle`. Its tables code symbols, then hyper-latents.

    Attributes:
        conformance: ẑ of the conformance vectors, (vector, N, line, sample) int16.
        conformance_symbols: symbols of the conformance vectors, (vector, M, line, sample) int16; zero without slices.
        gains: gains of the rate levels.
    """

    manifest: LatentManifest
    conformance: NDArray[np.int16]
    conformance_symbols: NDArray[np.int16]
    gains: RateGains

    def load_engine(
        self, graph: str, kind: EngineKind | None = None, *, workers: int = 1, cores: int | None = None
    ) -> Engine:
        """Load the engine of one graph; see `engines.selection.load_engine`.

        Raises:
            EngineError: the engine is not in the bundle, does not run graphs, or does not run here.
        """
        if kind is None and self.manifest.engines is None and BUILD_SCRIPT in self.manifest.extras:
            raise EngineError(
                f"{self.folder} has no engines yet: run its {BUILD_SCRIPT} where it shall run, or pass "
                "--engine onnxruntime"
            )
        if kind is EngineKind.NATIVE:
            raise EngineError(
                f"{self.folder} has graphs, which no native code runs; choose another --engine than {kind}"
            )
        return load_engine(self.folder / graph, kind, compiled=self.manifest.engines, workers=workers, cores=cores)


def latent_bundle(folder: Path, version: int, document: dict[str, Any]) -> LatentBundle:
    """Load a bundle after its manifest, and check every octet of it.

    Args:
        folder: folder of the bundle.
        version: version of its format.
        document: other entries of its manifest.

    Raises:
        BundleError: a file is missing or altered, or the format is another version's.
    """
    manifest, identity = _parsed(folder, version, document)
    check_pinned(folder, manifest.pinned)
    tables = read_tables(folder)
    conformance = read_array(folder / CONFORMANCE, np.int16)
    vectors, cells, latents = len(manifest.conformance), manifest.geometry.hyperlatents, manifest.geometry.latents
    shape = (vectors, manifest.latent_channels, latents, latents)
    symbols = read_array(folder / CONFORMANCE_SYMBOLS, np.int16) if manifest.slices else np.zeros(shape, np.int16)
    if (len(tables.first), conformance.shape, symbols.shape) != (
        manifest.scales + manifest.hyperlatent_channels,
        (vectors, manifest.hyperlatent_channels, cells, cells),
        shape,
    ):
        raise BundleError(f"{folder}: tables or conformance vectors do not fit the manifest; export the bundle again")
    try:
        gains = RateGains(values=read_array(folder / GAINS, np.float32))
    except ValueError as error:
        raise BundleError(f"{folder / GAINS}: {error}; export the bundle again") from error
    if gains.values.shape[1:] != (manifest.rates, manifest.latent_channels):
        raise BundleError(f"{folder}: gains of shape {gains.values.shape} do not fit the manifest; export it again")
    return LatentBundle(
        folder=folder,
        manifest=manifest,
        identity=identity,
        tables=tables,
        conformance=conformance,
        conformance_symbols=symbols,
        gains=gains,
    )


def read_latent_bundle(folder: Path) -> LatentBundle:
    """Load a bundle whose family codes a learned latent.

    Raises:
        BundleError: see `latent_bundle`; or the bundle has another family.
    """
    version, document = read_manifest(folder)
    if document.get("family") not in FAMILIES:
        raise BundleError(
            f"{folder} is of the family {document.get('family')}, which has no latent; a bundle of the families "
            f"{' or '.join(FAMILIES)} is needed here"
        )
    return latent_bundle(folder, version, document)


def _parsed(folder: Path, version: int, document: dict[str, Any]) -> tuple[LatentManifest, bytes]:
    try:
        known = {field.name for field in fields(LatentManifest)}
        if version > FORMAT_VERSION or document.keys() != (known - {"slices"} if version == _WITHOUT_SLICES else known):
            raise ValueError("its entries are not this format's")
        document.setdefault("slices", 0)
        # A stream is decoded without the encoder graph.
        files = {name: digest for name, digest in document["files"].items() if name not in _ENCODER_FILES}
        codec = {**document, "files": files}
        if codec["slices"] == 0:  # the previous version had no such entry
            del codec["slices"]
        identity = LatentManifest.identity_of(codec)
        geometry = TileGeometry(**document.pop("geometry"))
        wavelengths, engines = document.pop("wavelengths"), document.pop("engines")
        manifest = LatentManifest(
            geometry=geometry,
            wavelengths=None if wavelengths is None else tuple(wavelengths),
            conformance=tuple(document.pop("conformance")),
            engines=None if engines is None else EngineSet(**engines),
            **document,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise not_of_this_version(folder, error) from error
    return manifest, identity
