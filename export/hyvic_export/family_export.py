"""Seam between the export pipeline and the codec families: the parts of a bundle that a family makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypedDict, TypeVar

import numpy as np
import onnx
from hyvic_runtime.codec.bundle import Bundle, Manifest
from hyvic_runtime.entropy.unit_coder import ESCAPE_OCTETS
from numpy.typing import NDArray

from hyvic_export.frequency_tables import Distribution
from hyvic_export.precision import Precision
from hyvic_export.tensorrt.compiled_bundle import Target

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

BundleT = TypeVar("BundleT", bound=Bundle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One export, as the user asked for it.

    Attributes:
        checkpoint: folder that train-model wrote.
        tile: pixels of a tile's side; None: the default of the family.
        target: engine that the graphs are compiled for.
        precision: precision of the analysis.
        scenes: files to calibrate int8 with, and to compare the engine with the model on.
    """

    checkpoint: Path
    tile: int | None = None
    target: Target
    precision: Precision
    scenes: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformance:
    """Conformance vectors of a bundle.

    Attributes:
        arrays: file name → inputs of the vectors.
        digests: SHA-256 of the outputs of each vector.
        unreached: cases of the arithmetic that no vector reaches.
    """

    arrays: Mapping[str, NDArray[np.generic]]
    digests: tuple[str, ...]
    unreached: frozenset[str]


class CommonFields(TypedDict):
    """Fields of a manifest that the pipeline fills; see `Manifest`."""

    conformance: tuple[str, ...]
    coder_sha256: str
    provenance: dict[str, str]
    files: dict[str, str]


class FamilyExport(ABC, Generic[BundleT]):
    """A checkpoint that becomes a bundle. The pipeline calls each method once, in the order of this class.

    Attributes:
        escape_octets: length of an escaped symbol.
        origin: entries of the manifest's provenance that only this family has.
    """

    escape_octets: ClassVar[int] = ESCAPE_OCTETS
    origin: Mapping[str, str] = {}

    @abstractmethod
    def __init__(self, request: Request) -> None:
        """Read the checkpoint.

        Raises:
            CheckpointError: the checkpoint cannot be used.
            EngineError: the engines of the target cannot be built here.
            SceneError: a scene cannot be used.
            ValueError: the family does not support a part of the request.
        """

    @abstractmethod
    def distributions(self) -> tuple[Distribution, ...]:
        """Return the distribution of every row of the frequency tables, and quantise the entropy model.

        Raises:
            ValueError: the model was never calibrated, or its training diverged.
        """

    @abstractmethod
    def conformance(self) -> Conformance:
        """Make the conformance vectors."""

    @abstractmethod
    def graphs(self) -> dict[str, onnx.ModelProto]:
        """Make the graphs by file name."""

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Make the arrays by file name, except tables and conformance vectors."""

    @abstractmethod
    def bundle(self, folder: Path, common: CommonFields) -> BundleT:
        """Complete the manifest, and load the bundle as the runtime does.

        Args:
            folder: folder that holds every file but the manifest.
            common: fields that the pipeline knows.
        """

    @abstractmethod
    def measured(self, bundle: BundleT) -> DataclassInstance:
        """Compare the bundle with the model; the fields of the result go into the report.

        Raises:
            EngineError: the engine differs more than its precision explains.
            SceneError: a scene cannot be read.
        """

    @abstractmethod
    def completed(
        self, bundle: BundleT, extras: dict[str, str], progress: Callable[[str], None], phase: Callable[[str], None]
    ) -> Manifest:
        """Return the final manifest, after adding to the folder what the target needs.

        Args:
            bundle: bundle that was measured.
            extras: name → SHA-256 of files that were added since.
            progress: receives the name of each engine.
            phase: receives the phase of the engine builder.

        Raises:
            EngineError: the library refuses a graph.
        """
