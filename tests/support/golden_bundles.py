"""Unpack the bundles of tests/golden/bundles; the README in that folder says what they are."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path

from scenes import BUNDLES

PACKED = ".xz"


def unpack_bundle(name: str, out: Path) -> Path:
    """Copy the golden bundle `name` to the new folder `out`, its packed arrays unpacked, and return `out`."""
    shutil.copytree(BUNDLES / name, out)
    for packed in out.glob(f"*{PACKED}"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    return out


def pack_arrays(bundle: Path) -> None:
    """Pack arrays of more than 64 KiB, most of which are frequency tables."""
    for array in bundle.glob("*.npy"):
        if array.stat().st_size > 1 << 16:
            Path(f"{array}{PACKED}").write_bytes(lzma.compress(array.read_bytes(), preset=9))
            array.unlink()
