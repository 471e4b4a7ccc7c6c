"""Context model to bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from hyvic_runtime.codec.bundle_files import MANIFEST, REPORT, file_sha256, read_manifest
from hyvic_runtime.codec.conformance import coder_sha256
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.families.adaptive import bundle as layout
from hyvic_runtime.families.adaptive.bundle import AdaptiveManifest, adaptive_bundle
from hyvic_runtime.families.adaptive.conformance import network_sha256
from hyvic_runtime.families.adaptive.contexts import CONTEXT_VERSION, CONTEXTS
from hyvic_runtime.families.adaptive.table_choice import ESCAPE_OCTETS, FRACTIONS, SCALES
from hyvic_runtime.families.registry import BUNDLE_FILES
from hyvic_runtime.support.atomic_file import replacing_folder
from hyvic_train.checkpoint import WEIGHTS
from hyvic_train.families.adaptive.checkpoint import load_context_model
from numpy.typing import NDArray

from hyvic_export.bundle_writing import save_arrays, tool_versions
from hyvic_export.export_report import AdaptiveReport, report_bytes
from hyvic_export.families.adaptive.context_network import OUTPUTS, context_graph, context_network, context_weights
from hyvic_export.families.adaptive.context_vectors import context_vectors
from hyvic_export.families.adaptive.parity import measured_parity
from hyvic_export.families.adaptive.row_tables import row_distributions
from hyvic_export.frequency_tables import frequency_tables
from hyvic_export.graph_files import save_graph
from hyvic_export.integer_layer import refuse_uncalibrated, run_layers

STEPS = 5
"""Calls of `progress`."""


def adaptive_bundle_from_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    tile: int = layout.DEFAULT_TILE,
    scenes: Sequence[Path] = (),
    command: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> AdaptiveManifest:
    """Write the deployment bundle of a context model; `out` appears whole or not at all.

    The same checkpoint gives the same graph, tables and vectors, octet by octet, on one machine with the same library
    versions.

    Args:
        checkpoint: folder that train-model wrote.
        out: folder to create or replace.
        tile: lines and samples of a tile.
        scenes: files to hold the integer network against the model on.
        command: what the user typed, for the manifest.
        progress: told what is being made.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        SceneError: a scene cannot be used.
        ValueError: the model was never calibrated, or the tile is none.
    """
    progress("reading the checkpoint")
    loaded = load_context_model(checkpoint)
    refuse_uncalibrated(loaded.model.peaks)
    network = context_network(loaded.model)
    weights = context_weights(network)

    progress("frequency tables")
    distributions = row_distributions(loaded.model)
    tables = frequency_tables(distributions)

    progress("conformance vectors")
    vectors, unreached = context_vectors(network)
    expected = [dict(zip(OUTPUTS, run_layers(network, vector), strict=True)) for vector in vectors]

    progress("writing")
    with replacing_folder(out, contents=BUNDLE_FILES) as partial:
        save_graph(context_graph(network), partial / layout.CONTEXT_NETWORK)
        arrays: dict[str, NDArray[np.generic]] = {
            layout.WEIGHTS: weights.weights,
            layout.ROWS_OF_WEIGHTS: weights.rows,
            layout.CONFORMANCE: np.stack(vectors).astype(np.int16),
        }
        save_arrays(partial, tables, arrays)
        manifest = AdaptiveManifest(
            tile=tile,
            scales=SCALES,
            fractions=FRACTIONS,
            contexts=CONTEXTS,
            context_version=CONTEXT_VERSION,
            widths=weights.widths,
            peak=loaded.config.model.peak,
            conformance=tuple(map(network_sha256, expected)),
            coder_sha256=coder_sha256(EntropyCoder(tables, escape_octets=ESCAPE_OCTETS)),
            provenance={
                "checkpoint_sha256": file_sha256(checkpoint / WEIGHTS),
                "command": command,
                **tool_versions(),
            },
            files={name: file_sha256(partial / name) for name in sorted(layout.FILES)},
        )
        (partial / MANIFEST).write_bytes(layout.manifest_bytes(manifest))

        progress("parity")
        bundle = adaptive_bundle(partial, *read_manifest(partial))
        report = AdaptiveReport(
            conformance_unreached=tuple(sorted(unreached)),
            table_excess_bits=tuple(row.excess_bits(ESCAPE_OCTETS) for row in distributions),
            parity=measured_parity(loaded.model, bundle, scenes, loaded.config.samples.components),
        )
        (partial / REPORT).write_bytes(report_bytes(report))
        manifest = replace(manifest, extras={REPORT: file_sha256(partial / REPORT)})
        (partial / MANIFEST).write_bytes(layout.manifest_bytes(manifest))
    return manifest
