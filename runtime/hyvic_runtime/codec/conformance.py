"""Digests of what an engine and a coder compute: the same bits as those that made the bundle, or nothing is coded."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.errors import BundleError


def outputs_sha256(*outputs: NDArray[np.integer[Any]]) -> str:
    """Digest of what an entropy path gives for one vector, such as scale indices and means in steps."""
    return hashlib.sha256(b"".join(output.astype("<i4").tobytes() for output in outputs)).hexdigest()


def coder_vector(tables: FrequencyTables) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every symbol of every row and one beyond each row's end, with their rows: 1-D, of equal length."""
    counts = tables.length.astype(np.int64) + 1
    rows = np.repeat(np.arange(len(counts)), counts)
    return np.arange(len(rows)) - tables.starts()[rows] + tables.first[rows], rows


def coder_sha256(coder: EntropyCoder) -> str:
    """Digest of what a coder makes of `coder_vector`."""
    return hashlib.sha256(coder.encode(*coder_vector(coder.tables))).hexdigest()


def check_coder(bundle: Bundle, coder: EntropyCoder) -> None:
    """Code every symbol of every frequency table, and decode it.

    Raises:
        BundleError: the octets differ from the exporter's, or the symbols do not come back.
    """
    symbols, rows = coder_vector(bundle.tables)
    octets = coder.encode(symbols, rows)
    if hashlib.sha256(octets).hexdigest() != bundle.manifest.coder_sha256:
        raise BundleError(
            f"{coder.describe()} does not code the bundle's tables as the exporter's coder did, so streams would not "
            "decode; use another version of it"
        )
    if not np.array_equal(coder.decode(octets, rows), symbols):
        raise BundleError(f"{coder.describe()} does not decode what it coded; use another version of it")
