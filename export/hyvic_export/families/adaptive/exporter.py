"""Export of the scene-adaptive codec's context model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
from hyvic_runtime.codec.bundle_files import MANIFEST, parsed_manifest
from hyvic_runtime.families.adaptive import bundle as layout
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle, AdaptiveManifest, adaptive_bundle
from hyvic_runtime.families.adaptive.conformance import network_sha256
from hyvic_runtime.families.adaptive.contexts import CONTEXT_VERSION, CONTEXTS
from hyvic_runtime.families.adaptive.table_choice import FRACTIONS, SCALES
from hyvic_train.families.adaptive.checkpoint import load_context_model
from numpy.typing import NDArray

from hyvic_export.families.adaptive.context_network import OUTPUTS, context_graph, context_network, context_weights
from hyvic_export.families.adaptive.context_vectors import context_vectors
from hyvic_export.families.adaptive.parity import Parity, measured_parity
from hyvic_export.families.adaptive.row_tables import row_distributions
from hyvic_export.family_export import CommonFields, Conformance, FamilyExport, Request
from hyvic_export.frequency_tables import Distribution
from hyvic_export.integer_layer import refuse_uncalibrated, run_layers
from hyvic_export.precision import Precision
from hyvic_export.tensorrt.compiled_bundle import TargetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Entries of the report that only this family has.

    Attributes:
        parity: comparison of the integer network and its tables with the model.
    """

    parity: Parity


class AdaptiveExport(FamilyExport[AdaptiveBundle]):
    """A checkpoint of a context model that becomes a bundle."""

    escape_octets: ClassVar[int] = AdaptiveBundle.escape_octets

    def __init__(self, request: Request) -> None:
        target, precision = request.target.name, request.precision
        for option, used in (
            (f"--target {target}", target is not TargetName.ONNX),
            (f"--precision {precision}", precision is not Precision.FP32),
        ):
            if used:
                raise ValueError(
                    f"{option} has no use with model.family adaptive, whose network of integers is never compiled and "
                    "has one precision; leave it out"
                )
        loaded = load_context_model(request.checkpoint)
        refuse_uncalibrated(loaded.model.peaks)
        self._model, self._config, self._scenes = loaded.model, loaded.config, request.scenes
        self._tile = layout.DEFAULT_TILE if request.tile is None else request.tile
        self._network = context_network(loaded.model)
        self._weights = context_weights(self._network)

    def distributions(self) -> tuple[Distribution, ...]:
        return tuple(row_distributions(self._model))

    def conformance(self) -> Conformance:
        vectors, unreached = context_vectors(self._network)
        outputs = [dict(zip(OUTPUTS, run_layers(self._network, vector), strict=True)) for vector in vectors]
        return Conformance(
            arrays={layout.CONFORMANCE: np.stack(vectors).astype(np.int16)},
            digests=tuple(map(network_sha256, outputs)),
            unreached=unreached,
        )

    def graphs(self) -> dict[str, onnx.ModelProto]:
        return {layout.CONTEXT_NETWORK: context_graph(self._network)}

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {layout.WEIGHTS: self._weights.weights, layout.ROWS_OF_WEIGHTS: self._weights.rows}

    def bundle(self, folder: Path, common: CommonFields) -> AdaptiveBundle:
        manifest = AdaptiveManifest(
            tile=self._tile,
            scales=SCALES,
            fractions=FRACTIONS,
            contexts=CONTEXTS,
            context_version=CONTEXT_VERSION,
            widths=self._weights.widths,
            peak=self._config.model.peak,
            **common,
        )
        return adaptive_bundle(folder, *parsed_manifest(folder / MANIFEST, manifest.file_bytes()))

    def measured(self, bundle: AdaptiveBundle) -> Measured:
        components = self._config.samples.components
        return Measured(parity=measured_parity(self._model, bundle, self._scenes, components))

    def completed(
        self,
        bundle: AdaptiveBundle,
        extras: dict[str, str],
        progress: Callable[[str], None],
        phase: Callable[[str], None],
    ) -> AdaptiveManifest:
        return replace(bundle.manifest, extras=extras)
