"""What bundles of all families have in common: how a manifest is spelt, and that it pins every other file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_runtime.errors import BundleError

FORMAT_VERSIONS = range(1, 4)
"""1: latents without slices. 2: latents. 3: the scene-adaptive family."""
MANIFEST, REPORT = "manifest.json", "report.json"
TABLE_FIRST, TABLE_LENGTH, TABLE_FREQUENCIES = "table-first.npy", "table-length.npy", "table-frequencies.npy"
TABLES = (TABLE_FIRST, TABLE_LENGTH, TABLE_FREQUENCIES)


def spelt(version: int, body: Mapping[str, Any]) -> bytes:
    """A manifest file: readable JSON whose first entries are the format version and its own SHA-256."""
    document = {"format_version": version, "sha256": canonical_sha256(body).hex(), **body}
    return (json.dumps(document, indent=1) + "\n").encode()


def canonical_sha256(body: Mapping[str, Any]) -> bytes:
    """Of entries of a manifest, however they are spelt."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).digest()


def read_manifest(folder: Path) -> tuple[int, dict[str, Any]]:
    """Format version of a bundle and the other entries of its manifest, as `spelt` wrote them.

    Raises:
        BundleError: it is missing or altered, or the format is another version's.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"{folder} is no bundle: {MANIFEST} is missing; make one with export-engine")
    altered = f"{path} was altered or damaged; copy the bundle again"
    try:
        octets = path.read_bytes()
        document = json.loads(octets)
        version, recorded = document.pop("format_version"), bytes.fromhex(document.pop("sha256"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(altered) from error
    if version not in FORMAT_VERSIONS:
        raise BundleError(
            f"{path}: bundle format {version}, this runtime reads {FORMAT_VERSIONS[0]} to {FORMAT_VERSIONS[-1]}; "
            "export it again"
        )
    if canonical_sha256(document) != recorded or spelt(int(version), document) != octets:
        raise BundleError(altered)  # the latter: white space, an escape, a repeated key
    return int(version), document


def not_of_this_version(folder: Path, reason: object) -> BundleError:
    """What a manifest is refused with whose entries are not those of its format."""
    return BundleError(f"{folder / MANIFEST}: not a manifest of this version ({reason}); export the bundle again")


def check_whole_numbers(record: object, *limits: tuple[str, int, int]) -> None:
    """Check fields, by name, lowest and highest value; JSON has carried them, so types are checked, not assumed.

    Raises:
        ValueError: one is no whole number of that range.
    """
    for name, low, high in limits:
        value = getattr(record, name)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{name} is {value!r}; a whole number in {low}..{high} is needed")


def check_texts(*values: object) -> None:
    """Check names and digests.

    Raises:
        ValueError: one is no text.
    """
    if not all(type(value) is str for value in values):
        raise ValueError("a name or digest is not text")


def check_peak(peak: float) -> None:
    """Check the largest digital number.

    Raises:
        ValueError: it is no positive number.
    """
    if type(peak) not in (int, float) or not 0 < peak < 2**32:
        raise ValueError(f"peak is {peak!r}; a positive number is needed")


def check_pinned(folder: Path, pinned: Mapping[str, str]) -> None:
    """Check every octet of a bundle's files against their SHA-256.

    Raises:
        BundleError: one is missing or altered.
    """
    for name, recorded in pinned.items():
        try:
            digest = file_sha256(folder / name)
        except OSError as error:
            raise BundleError(f"{folder / name} cannot be read ({error.strerror}); copy the bundle again") from error
        if digest != recorded:
            raise BundleError(f"{folder / name} was altered: its SHA-256 is not the manifest's; copy the bundle again")


def file_sha256(path: Path) -> str:
    """What a manifest pins a file by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tables(folder: Path) -> FrequencyTables:
    """A bundle's frequency tables.

    Raises:
        BundleError: they are none.
    """
    return FrequencyTables(
        first=read_array(folder / TABLE_FIRST, np.int32),
        length=read_array(folder / TABLE_LENGTH, np.int32),
        frequencies=read_array(folder / TABLE_FREQUENCIES, np.uint32),
    )


def read_array(path: Path, dtype: type[np.generic]) -> NDArray[Any]:
    """An array file of one type.

    Raises:
        BundleError: it is none.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BundleError(f"{path} is not an array; export the bundle again") from error
    if not isinstance(values, np.ndarray):
        raise BundleError(f"{path} is an archive, not an array; export the bundle again")
    if values.dtype != dtype:
        raise BundleError(f"{path} holds {values.dtype}, not {np.dtype(dtype)}; export the bundle again")
    return np.asarray(values)
