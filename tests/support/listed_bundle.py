"""Bundles with a list of the scenes that their model was made with."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from hyvic_runtime.codec.bundle_files import MANIFEST, REPORT, file_sha256
from hyvic_runtime.codec.seen_scenes import ENTRY, HASH_DIGITS
from hyvic_runtime.families.registry import read_bundle


def listed_bundle(
    source: Path, out: Path, *, training: tuple[str, ...] = (), validation: tuple[str, ...] = (), complete: bool = True
) -> Path:
    """Copy a bundle, and give it a list of these content hashes."""
    parts = {"training": training, "validation": validation}
    entry = {name: sorted(sha256[:HASH_DIGITS] for sha256 in hashes) for name, hashes in parts.items()}
    return bundle_with_entry(source, out, {"complete": complete, **entry})


def bundle_with_entry(source: Path, out: Path, entry: Any) -> Path:
    """Copy a bundle, and write anything where the list of its scenes is expected."""
    shutil.copytree(source, out)
    report = json.loads((out / REPORT).read_text())
    (out / REPORT).write_text(json.dumps({**report, ENTRY: entry}))
    manifest: Any = read_bundle(source).manifest
    extras = {**manifest.extras, REPORT: file_sha256(out / REPORT)}
    (out / MANIFEST).write_bytes(replace(manifest, extras=extras).file_bytes())
    return out
