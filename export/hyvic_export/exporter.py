"""The export pipeline of all families: checkpoint to deployment bundle.

checkpoint ─▶ entropy model ─▶ conformance vectors ─▶ graphs ─▶ files ─▶ parity ─▶ engines ─▶ manifest
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from hyvic_runtime.codec import seen_scenes
from hyvic_runtime.codec.bundle import Manifest
from hyvic_runtime.codec.bundle_files import (
    MANIFEST,
    REPORT,
    TABLE_FIRST,
    TABLE_FREQUENCIES,
    TABLE_LENGTH,
    file_sha256,
)
from hyvic_runtime.codec.conformance import coder_sha256
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.families.registry import BUNDLE_FILES
from hyvic_runtime.support.atomic_file import replacing_folder
from hyvic_train.checkpoint import WEIGHTS, training_data_of
from hyvic_train.training_data import UNKNOWN
from numpy.typing import NDArray

from hyvic_export.families.registry import family_export
from hyvic_export.family_export import Request
from hyvic_export.frequency_tables import frequency_tables
from hyvic_export.graph_files import save_graph
from hyvic_export.precision import Precision
from hyvic_export.tensorrt.compiled_bundle import Target

_TOOLS = ("hyvic-onboard", "numpy", "onnx", "spox", "torch", "compressai")
"""Libraries that an export depends on, for the manifest's provenance."""
STEPS = 6
"""Number of calls of `progress`, without one more for each engine."""


def bundle_from_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    tile: int | None = None,
    target: Target | None = None,
    precision: Precision = Precision.FP32,
    scenes: Sequence[Path] = (),
    command: str = "",
    progress: Callable[[str], None] = lambda _: None,
    phase: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write the deployment bundle of a checkpoint; `out` appears whole or not at all.

    A checkpoint gives the same graphs, tables and vectors, octet by octet, on one machine with the same library
    versions.

    Args:
        checkpoint: folder that train-model wrote, of any family.
        out: folder to create or replace.
        tile: pixels of a tile's side; None: the default of the family.
        target: engine that the graphs are compiled for; None: ONNX Runtime takes the graphs as they are.
        precision: precision of the analysis.
        scenes: files to calibrate int8 with, and to compare the engine with the model on. Without scenes, synthetic
            data serve for the comparison.
        command: command that the user typed, for the manifest.
        progress: receives the name of each stage.
        phase: receives the phase of the engine builder.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        EngineError: the target's engines cannot be built here, or the engine is not the model.
        SceneError: a scene cannot be used.
        ValueError: the family does not support the tile, target or precision; or int8 without scenes.
    """
    progress("reading the checkpoint")
    data = training_data_of(checkpoint)
    request = Request(
        checkpoint=checkpoint, tile=tile, target=target or Target(), precision=precision, scenes=tuple(scenes)
    )
    export = family_export(request)

    progress("integer entropy model")
    distributions = export.distributions()
    tables = frequency_tables(distributions)

    progress("conformance vectors")
    conformance = export.conformance()

    progress("graphs")
    graphs = export.graphs()

    progress("writing")
    with replacing_folder(out, contents=BUNDLE_FILES) as partial:
        for name, graph in graphs.items():
            save_graph(graph, partial / name)
        arrays: dict[str, NDArray[np.generic]] = {
            TABLE_FIRST: tables.first,
            TABLE_LENGTH: tables.length,
            TABLE_FREQUENCIES: tables.frequencies,
            **conformance.arrays,
            **export.arrays(),
        }
        for name, values in arrays.items():
            octets = io.BytesIO()  # into a file, NumPy gives no reason when the disk is full
            np.save(octets, values)
            (partial / name).write_bytes(octets.getvalue())
        bundle = export.bundle(
            partial,
            {
                "conformance": conformance.digests,
                "coder_sha256": coder_sha256(EntropyCoder(tables, escape_octets=export.escape_octets)),
                "provenance": {
                    "checkpoint_sha256": file_sha256(checkpoint / WEIGHTS),
                    **export.origin,
                    "command": command,
                    **{tool: version(tool) for tool in _TOOLS},
                },
                "files": {file.name: file_sha256(file) for file in sorted(partial.iterdir())},
            },
        )

        progress("parity")
        report: dict[str, Any] = {  # for people; nothing reads it but the list of scenes
            "conformance_unreached": sorted(conformance.unreached),
            "table_excess_bits": [row.excess_bits(export.escape_octets) for row in distributions],
            **asdict(export.measured(bundle)),
        }
        if data != UNKNOWN:
            report[seen_scenes.ENTRY] = data.seen_scenes.document()
        (partial / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        manifest = export.completed(bundle, {REPORT: file_sha256(partial / REPORT)}, progress, phase)
        (partial / MANIFEST).write_bytes(manifest.file_bytes())
    return manifest
