"""Checkpoint to bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hyvic_runtime.codec.bundle_files import MANIFEST, REPORT, file_sha256
from hyvic_runtime.codec.conformance import coder_sha256, outputs_sha256
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.families.latent import bundle as layout
from hyvic_runtime.families.latent.bundle import LatentManifest, read_latent_bundle
from hyvic_runtime.families.registry import BUNDLE_FILES
from hyvic_runtime.scene.tile_grid import DEFAULT_TILE
from hyvic_runtime.support.atomic_file import replacing_folder
from hyvic_train.checkpoint import WEIGHTS
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.integer_path import MEAN_STEP_BITS, SCALE_COUNT
from numpy.typing import NDArray

from hyvic_export.bundle_writing import save_arrays, tool_versions
from hyvic_export.conformance_vectors import ConformanceVector, conformance_vectors
from hyvic_export.export_report import ExportReport, report_bytes
from hyvic_export.families.latent.analysis_form import AnalysisForm
from hyvic_export.families.latent.entropy_model import entropy_model
from hyvic_export.families.latent.graphs import decoder_graph, encoder_graph, hyperdecoder_graph, slice_graph
from hyvic_export.families.latent.parity import measured_parity
from hyvic_export.families.registry import exportable
from hyvic_export.graph_files import save_graph
from hyvic_export.precision import Precision
from hyvic_export.sample_scenes import centred_pixels, expected_scene, sample_scenes
from hyvic_export.tensorrt.compiled_bundle import Target, TargetName, compile_in_place

STEPS = 6
"""Calls of `progress`, and one for each engine."""


def bundle_from_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    tile: int = DEFAULT_TILE,
    target: Target | None = None,
    precision: Precision = Precision.FP32,
    scenes: Sequence[Path] = (),
    command: str = "",
    progress: Callable[[str], None] = lambda _: None,
    phase: Callable[[str], None] = lambda _: None,
) -> LatentManifest:
    """Write the deployment bundle of a checkpoint; `out` appears whole or not at all.

    The same checkpoint gives the same graphs, tables and vectors, octet by octet, on one machine with the
    same library versions.

    Args:
        checkpoint: folder that train-model wrote.
        out: folder to create or replace.
        tile: pixels of a tile's side.
        target: what the graphs are compiled for; None: nothing, ONNX Runtime takes them as they are.
        precision: of the analysis.
        scenes: files to calibrate int8 with and to hold the engine against the model on; without any, a tile drawn
            from the model's prior serves for the latter.
        command: what the user typed, for the manifest.
        progress: told what is being made.
        phase: told what an engine's builder is doing.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        EngineError: the target's engines cannot be built here, or the engine is not the model.
        SceneError: a scene cannot be used.
        ValueError: the tile does not fit the model, or the target the library; int8 without scenes, or of a family that
            has none.
    """
    if precision is Precision.INT8 and not scenes:
        raise ValueError("int8 needs scenes to calibrate with, like those that will be coded: --scene FILE...")
    target = target or Target()
    builder = target.builder()
    progress("reading the checkpoint")
    loaded = load_checkpoint(checkpoint)
    model = loaded.model
    config = model.config
    geometry = exportable(model).geometry(tile)

    samples = sample_scenes(scenes, loaded.config, geometry)
    form = AnalysisForm(precision=precision, unsigned=target.name is TargetName.ONNX)
    if precision is Precision.INT8:
        centred = loaded.config.data.remove_mean_spectrum
        pixels = [centred_pixels(sample, subtract_mean=centred) for sample in samples]
        form = replace(form, peaks=exportable(model).calibrated_peaks(pixels))

    progress("integer entropy path")
    entropy = entropy_model(model)
    tables, network = entropy.tables, entropy.network

    progress("conformance vectors")
    vectors, unreached = conformance_vectors(entropy.prior, network, geometry.hyperlatents)

    progress("graphs")
    graphs = {
        layout.ENCODER: encoder_graph(model, network, entropy.prior, geometry, form),
        layout.HYPERDECODER: hyperdecoder_graph(model, network, geometry),
        **{layout.slice_graph(part): slice_graph(network, geometry, part) for part in range(network.slices)},
        layout.DECODER: decoder_graph(model, geometry),
    }

    progress("writing")
    with replacing_folder(out, contents=BUNDLE_FILES) as partial:
        for name, graph in graphs.items():
            save_graph(graph, partial / name)
        arrays: dict[str, NDArray[np.generic]] = {
            layout.CONFORMANCE: np.stack([vector.hyperlatent for vector in vectors]).astype(np.int16),
            layout.GAINS: rate_gains(model),
        }
        if network.slices:
            symbols = [vector.expected.symbols for vector in vectors]
            arrays[layout.CONFORMANCE_SYMBOLS] = np.stack(symbols).astype(np.int16)
        save_arrays(partial, tables, arrays)
        manifest = LatentManifest(
            family=config.family,
            bands=config.bands,
            latent_channels=config.latent_channels,
            hyperlatent_channels=config.hyperlatent_channels,
            slices=network.slices,
            rates=config.rates,
            scales=SCALE_COUNT,
            mean_step_bits=MEAN_STEP_BITS,
            peak=config.peak,
            precision=precision.value,
            mean_spectrum=loaded.config.data.remove_mean_spectrum,
            geometry=geometry,
            wavelengths=loaded.config.data.wavelengths,
            conformance=tuple(_digest(vector, slices=network.slices) for vector in vectors),
            coder_sha256=coder_sha256(EntropyCoder(tables)),
            provenance={
                "checkpoint_sha256": file_sha256(checkpoint / WEIGHTS),
                "lambda": repr(loaded.config.optimisation.lmbda),
                "command": command,
                **tool_versions(),
            },
            files={file.name: file_sha256(file) for file in sorted(partial.iterdir())},
        )
        (partial / MANIFEST).write_bytes(layout.manifest_bytes(manifest))

        progress("parity")
        latent_graph = encoder_graph(model, network, entropy.prior, geometry, form, with_latent=True)
        seen = samples or (expected_scene(model, entropy, geometry),)
        parity = measured_parity(model, entropy, read_latent_bundle(partial), latent_graph, seen)
        parity.check(precision)
        report = ExportReport(
            conformance_unreached=tuple(sorted(unreached)),
            table_excess_bits=tuple(row.excess_bits() for row in entropy.distributions),
            precision=precision,
            calibrated_on=tuple(sample.name for sample in samples) if form.peaks else (),
            parity=parity,
        )
        (partial / REPORT).write_bytes(report_bytes(report))
        manifest = replace(manifest, extras={REPORT: file_sha256(partial / REPORT)})
        (partial / MANIFEST).write_bytes(layout.manifest_bytes(manifest))
        return compile_in_place(partial, target, builder, progress=progress, phase=phase)


def _digest(vector: ConformanceVector, *, slices: int) -> str:
    """What a manifest says of a vector; where nothing completes symbols and means, they say all."""
    expected = vector.expected
    outputs = (expected.scale_index, expected.mean_steps, expected.latent_steps)
    return outputs_sha256(*outputs[: 3 if slices else 2])


@torch.no_grad()
def rate_gains(model: CodecModel) -> NDArray[np.float32]:
    """Gain and inverse gain of every rate level, (2, rates, M)."""
    gains = model.gains(torch.arange(float(model.config.rates)))
    return np.stack([np.asarray(gain[:, :, 0, 0], np.float32) for gain in gains])
