"""Digests of the outputs of an entropy path and an entropy coder; they must equal the digests of the exporter."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.errors import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Result of running a bundle on an engine.

    Attributes:
        engine: library, version and device.
        facts: numbers that only the family of the bundle has, for reports.
        expected: agreement with the expected outputs, for reports; None if the bundle holds no expected outputs.
        expected_share: share of equal symbols, 0..1; None if the bundle holds no expected outputs.
    """

    engine: str
    facts: dict[str, int]
    expected: dict[str, Any] | None = None
    expected_share: float | None = None


def outputs_sha256(*outputs: NDArray[np.integer[Any]]) -> str:
    """Return the digest of the outputs of an entropy path for one vector, such as scale indices and means in steps."""
    return hashlib.sha256(b"".join(output.astype("<i4").tobytes() for output in outputs)).hexdigest()


def coder_vector(tables: FrequencyTables) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every symbol of every frequency table and one symbol after its end, and their tables; both (symbol,)."""
    counts = tables.length.astype(np.int64) + 1
    indices = np.repeat(np.arange(len(counts)), counts)
    return np.arange(len(indices)) - tables.starts()[indices] + tables.first[indices], indices


def coder_sha256(coder: EntropyCoder) -> str:
    """Return the digest of the octets that a coder makes of `coder_vector`."""
    return hashlib.sha256(coder.encode(*coder_vector(coder.tables))).hexdigest()


def check_coder(bundle: Bundle, coder: EntropyCoder) -> None:
    """Code and decode every symbol of every frequency table.

    Raises:
        BundleError: the octets differ from the octets of the exporter, or the symbols do not come back.
    """
    symbols, indices = coder_vector(bundle.tables)
    octets = coder.encode(symbols, indices)
    if hashlib.sha256(octets).hexdigest() != bundle.manifest.coder_sha256:
        raise BundleError(
            f"{coder.describe()} does not code the tables of the bundle as the exporter did, so streams would not "
            "decode; use another version of the coder"
        )
    if not np.array_equal(coder.decode(octets, indices), symbols):
        raise BundleError(f"{coder.describe()} does not decode its own octets; use another version of the coder")
