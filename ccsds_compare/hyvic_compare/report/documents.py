"""Comparisons as files for machines: strict JSON with all measurements, and a table of them."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import IO, Any

import numpy as np

from hyvic_compare.report.views import View, default_reference, deltas_of
from hyvic_compare.results import ComparedScene, Comparison, Cost, Distortion, Measurement


def document_from_comparison(comparison: Comparison, views: Sequence[View]) -> dict[str, Any]:
    """Return the comparison without its pictures, and the BD figures of every view.

    JSON has no infinity: the PSNR of an exact reconstruction is the string "inf", which Python's `float` and
    most readers of numbers accept.
    """
    reference = default_reference(comparison, views[0])
    document = {
        "scenes": [{name: getattr(scene, name) for name in _SCENE} for scene in comparison.scenes],
        "codecs": comparison.codecs,
        "ours": comparison.ours,
        "ratios": comparison.ratios,
        "measurements": [asdict(m) for m in comparison.measurements],
        "bjontegaard": [
            {"view": view.label, "scenes": view.scenes, "seen_by": view.seen_by, "unknown_by": view.unknown_by}
            | asdict(delta)
            for view in views
            for delta in deltas_of(view, reference)
        ],
        "notes": comparison.notes,
        "command": comparison.command,
        "environment": comparison.environment,
    }
    strict: dict[str, Any] = _strict(document)
    return strict


def write_table(comparison: Comparison, file: IO[str]) -> None:
    """Write a CSV file with a row for each measurement; PSNR by band and tile is in the JSON file alone."""
    nested = ("fidelity", "cost", "band_psnr_db", "tile_psnr_db")
    columns = [f.name for record in (Measurement, Distortion, Cost) for f in fields(record) if f.name not in nested]
    writer = csv.DictWriter(file, columns, extrasaction="ignore")
    writer.writeheader()
    for row in map(asdict, comparison.measurements):
        writer.writerow({**row, **(row["fidelity"] or {}), **(row["cost"] or {})})


_SCENE = [f.name for f in fields(ComparedScene) if f.name != "original"]


def _strict(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value
