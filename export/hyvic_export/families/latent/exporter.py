"""Export of the families with a learned latent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from hyvic_runtime.codec.bundle_files import MANIFEST, parsed_manifest
from hyvic_runtime.codec.conformance import outputs_sha256
from hyvic_runtime.families.latent import bundle as layout
from hyvic_runtime.families.latent.bundle import LatentBundle, LatentManifest, latent_bundle
from hyvic_runtime.scene.tile_grid import DEFAULT_TILE
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.integer_path import MEAN_STEP_BITS, SCALE_COUNT
from numpy.typing import NDArray

from hyvic_export.families.latent.analysis_form import AnalysisForm
from hyvic_export.families.latent.conformance_vectors import ConformanceVector, conformance_vectors
from hyvic_export.families.latent.entropy_model import EntropyModel, entropy_model
from hyvic_export.families.latent.exportable import Exportable
from hyvic_export.families.latent.graphs import decoder_graph, encoder_graph, hyperdecoder_graph, slice_graph
from hyvic_export.families.latent.parity import Parity, measured_parity
from hyvic_export.families.latent.sample_scenes import centred_pixels, expected_scene, sample_scenes
from hyvic_export.family_export import CommonFields, Conformance, FamilyExport, Request
from hyvic_export.frequency_tables import Distribution
from hyvic_export.precision import Precision
from hyvic_export.tensorrt.compiled_bundle import TargetName, compile_in_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Entries of the report that only these families have.

    Attributes:
        precision: precision of the analysis.
        calibrated_on: names of the scenes that gave the ranges of int8.
        parity: comparison of the encoder graph in ONNX Runtime with the model.
    """

    precision: Precision
    calibrated_on: tuple[str, ...]
    parity: Parity


class LatentExport(FamilyExport[LatentBundle]):
    """A checkpoint of a codec with a learned latent that becomes a bundle."""

    _entropy: EntropyModel

    def __init__(self, request: Request, exportable: Callable[[Any], Exportable[CodecModel]]) -> None:
        """Read the checkpoint.

        Args:
            request: what the user asked for.
            exportable: wraps a model of the family.
        """
        precision, self._target = request.precision, request.target
        if precision is Precision.INT8 and not request.scenes:
            raise ValueError("int8 needs scenes to calibrate with, like those that will be coded: --scene FILE...")
        self._builder = request.target.builder()
        loaded = load_checkpoint(request.checkpoint)
        self._config = loaded.config
        self._exportable = exportable(loaded.model)
        self._geometry = self._exportable.geometry(DEFAULT_TILE if request.tile is None else request.tile)
        self._samples = sample_scenes(request.scenes, loaded.config, self._geometry)
        self._form = AnalysisForm(precision=precision, unsigned=request.target.name is TargetName.ONNX)
        if precision is Precision.INT8:
            centred = loaded.config.data.remove_mean_spectrum
            pixels = [centred_pixels(sample, subtract_mean=centred) for sample in self._samples]
            self._form = replace(self._form, peaks=self._exportable.calibrated_peaks(pixels))
        self.origin = {"lambda": repr(loaded.config.optimisation.lmbda)}

    def distributions(self) -> tuple[Distribution, ...]:
        self._entropy = entropy_model(self._exportable)
        return self._entropy.distributions

    def conformance(self) -> Conformance:
        network = self._entropy.network
        vectors, unreached = conformance_vectors(self._entropy.prior, network, self._geometry.hyperlatents)
        arrays = {layout.CONFORMANCE: np.stack([vector.hyperlatent for vector in vectors]).astype(np.int16)}
        if network.slices:
            symbols = [vector.expected.symbols for vector in vectors]
            arrays[layout.CONFORMANCE_SYMBOLS] = np.stack(symbols).astype(np.int16)
        digests = tuple(_digest(vector, slices=network.slices) for vector in vectors)
        return Conformance(arrays=arrays, digests=digests, unreached=unreached)

    def graphs(self) -> dict[str, onnx.ModelProto]:
        network, geometry = self._entropy.network, self._geometry
        return {
            layout.ENCODER: encoder_graph(self._exportable, self._entropy, geometry, self._form),
            layout.HYPERDECODER: hyperdecoder_graph(network, geometry),
            **{layout.slice_graph(part): slice_graph(network, geometry, part) for part in range(network.slices)},
            layout.DECODER: decoder_graph(self._exportable, geometry),
        }

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {layout.GAINS: rate_gains(self._exportable.model)}

    def bundle(self, folder: Path, common: CommonFields) -> LatentBundle:
        model, data = self._exportable.model.config, self._config.data
        manifest = LatentManifest(
            family=model.family,
            bands=model.bands,
            latent_channels=model.latent_channels,
            hyperlatent_channels=model.hyperlatent_channels,
            slices=self._entropy.network.slices,
            rates=model.rates,
            scales=SCALE_COUNT,
            mean_step_bits=MEAN_STEP_BITS,
            peak=model.peak,
            precision=self._form.precision.value,
            mean_spectrum=data.remove_mean_spectrum,
            geometry=self._geometry,
            wavelengths=data.wavelengths,
            **common,
        )
        return latent_bundle(folder, *parsed_manifest(folder / MANIFEST, manifest.file_bytes()))

    def measured(self, bundle: LatentBundle) -> Measured:
        scenes = self._samples or (expected_scene(self._exportable.model, self._entropy, self._geometry),)
        parity = measured_parity(self._exportable, self._entropy, bundle, scenes)
        parity.check(self._form.precision)
        return Measured(
            precision=self._form.precision,
            calibrated_on=tuple(sample.name for sample in self._samples) if self._form.peaks else (),
            parity=parity,
        )

    def completed(
        self,
        bundle: LatentBundle,
        extras: dict[str, str],
        progress: Callable[[str], None],
        phase: Callable[[str], None],
    ) -> LatentManifest:
        reported = replace(bundle, manifest=replace(bundle.manifest, extras=extras))
        return compile_in_place(reported, self._target, self._builder, progress=progress, phase=phase)


def _digest(vector: ConformanceVector, *, slices: int) -> str:
    """Return the digest of a vector's outputs; without slices, symbols and means determine the latent."""
    expected = vector.expected
    outputs = (expected.scale_index, expected.mean_steps, expected.latent_steps)
    return outputs_sha256(*outputs[: 3 if slices else 2])


@torch.no_grad()
def rate_gains(model: CodecModel) -> NDArray[np.float32]:
    """Return gain and inverse gain of every rate level, (2, rates, M)."""
    gains = model.gains(torch.arange(float(model.config.rates)))
    return np.stack([np.asarray(gain[:, :, 0, 0], np.float32) for gain in gains])
