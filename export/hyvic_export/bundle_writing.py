"""What exporters of all families write alike."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
from hyvic_runtime.codec.bundle_files import TABLE_FIRST, TABLE_FREQUENCIES, TABLE_LENGTH
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from numpy.typing import NDArray

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


def tool_versions() -> dict[str, str]:
    """Of what an export depends on, for the manifest's provenance."""
    return {tool: version(tool) for tool in _TOOLS}
