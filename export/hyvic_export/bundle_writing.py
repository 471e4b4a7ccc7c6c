"""Files that exporters of all families write."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from hyvic_runtime.codec.bundle_files import TABLE_FIRST, TABLE_FREQUENCIES, TABLE_LENGTH
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_TOOLS = ("hyvic-onboard", "numpy", "onnx", "spox", "torch", "compressai")


def save_arrays(folder: Path, tables: FrequencyTables, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write frequency tables, and arrays by file name."""
    named: dict[str, NDArray[np.generic]] = {
        TABLE_FIRST: tables.first,
        TABLE_LENGTH: tables.length,
        TABLE_FREQUENCIES: tables.frequencies,
        **arrays,
    }
    for name, array in named.items():
        octets = io.BytesIO()  # into a file, NumPy gives no reason when the disk is full
        np.save(octets, array)
        (folder / name).write_bytes(octets.getvalue())


def report_bytes(unreached: Iterable[str], table_excess_bits: Iterable[float], measured: DataclassInstance) -> bytes:
    """Make the report file, for people; nothing reads it.

    Args:
        unreached: cases of the entropy model's arithmetic that no conformance vector reaches.
        table_excess_bits: cost of each row of the tables above the entropy of its distribution, bits a symbol.
        measured: other entries, which only one family has.
    """
    report = {"conformance_unreached": sorted(unreached), "table_excess_bits": list(table_excess_bits)}
    return (json.dumps(report | asdict(measured), indent=1) + "\n").encode()


def tool_versions() -> dict[str, str]:
    """Return the versions of the libraries that an export depends on, for the manifest's provenance."""
    return {tool: version(tool) for tool in _TOOLS}
