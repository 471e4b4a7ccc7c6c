"""Files that bundles of all families have: the spelling of a manifest, and the files that it pins."""

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
    """Make a manifest file: readable JSON whose first entries are the format version and its own SHA-256."""
    document = {"format_version": version, "sha256": canonical_sha256(body).hex(), **body}
    return (json.dumps(document, indent=1) + "\n").encode()


def canonical_sha256(body: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of entries of a manifest; white space and order have no effect."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).digest()


def read_manifest(folder: Path) -> tuple[int, dict[str, Any]]:
    """Read the format version of a bundle and the other entries of its manifest.

    Raises:
        BundleError: the manifest is missing or altered, or this runtime does not read the version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"{folder} is no bundle: {MANIFEST} is missing; make one with export-engine")
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} was altered or damaged; copy the bundle again") from error
    return parsed_manifest(path, octets)


def parsed_manifest(path: Path, octets: bytes) -> tuple[int, dict[str, Any]]:
    """Return the format version and the other entries of a manifest file that `spelt` made; see `read_manifest`."""
    altered = f"{path} was altered or damaged; copy the bundle again"
    try:
        document = json.loads(octets)
        version, recorded = document.pop("format_version"), bytes.fromhex(document.pop("sha256"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(altered) from error
    if version not in FORMAT_VERSIONS:
        raise BundleError(
            f"{path}: bundle format {version}, this runtime reads {FORMAT_VERSIONS[0]} to {FORMAT_VERSIONS[-1]}; "
            "export it again"
        )
    if canonical_sha256(document) != recorded or spelt(int(version), document) != octets:
        raise BundleError(altered)  # `spelt` differs for other white space, an escape or a repeated key
    return int(version), document


def not_of_this_version(folder: Path, reason: object) -> BundleError:
    """Make the error for a manifest whose entries do not belong to its format."""
    return BundleError(f"{folder / MANIFEST}: not a manifest of this version ({reason}); export the bundle again")


def check_whole_numbers(record: object, *limits: tuple[str, int, int]) -> None:
    """Check fields, each given by name, lowest and highest value. JSON carried them, so types are checked too.

    Raises:
        ValueError: a field is not a whole number of its range.
    """
    for name, low, high in limits:
        value = getattr(record, name)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{name} is {value!r}; a whole number in {low}..{high} is needed")


def check_texts(*values: object) -> None:
    """Check names and digests.

    Raises:
        ValueError: a value is not text.
    """
    if not all(type(value) is str for value in values):
        raise ValueError("a name or digest is not text")


def check_pinned(folder: Path, pinned: Mapping[str, str]) -> None:
    """Check every octet of a bundle's files against their SHA-256.

    Raises:
        BundleError: a file is missing or altered.
    """
    for name, recorded in pinned.items():
        try:
            digest = file_sha256(folder / name)
        except OSError as error:
            raise BundleError(f"{folder / name} cannot be read ({error.strerror}); copy the bundle again") from error
        if digest != recorded:
            raise BundleError(f"{folder / name} was altered: its SHA-256 is not the manifest's; copy the bundle again")


def file_sha256(path: Path) -> str:
    """Return the digest by which a manifest pins a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tables(folder: Path) -> FrequencyTables:
    """Read the frequency tables of a bundle.

    Raises:
        BundleError: they are invalid.
    """
    return FrequencyTables(
        first=read_array(folder / TABLE_FIRST, np.int32),
        length=read_array(folder / TABLE_LENGTH, np.int32),
        frequencies=read_array(folder / TABLE_FREQUENCIES, np.uint32),
    )


def read_array(path: Path, dtype: type[np.generic]) -> NDArray[Any]:
    """Read an array file of one type.

    Raises:
        BundleError: the file is no array, or has another type.
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
