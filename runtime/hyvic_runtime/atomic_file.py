"""Outputs appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to, renamed to `target` when the block ends well and removed when it does not.

    The temporary name keeps the suffix, since writers choose their format by it. It may become a file or a
    folder; a folder replaces an existing one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        partial = Path(scratch) / target.name
        yield partial
        if target.is_dir() and not target.is_symlink():
            # A rename cannot replace a folder that has files; step it aside so that a crash loses neither.
            target.replace(Path(scratch) / "replaced")
        partial.replace(target)


@contextmanager
def replacing_group(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Like `replacing`, for files of one folder that belong together, such as a header and its data."""
    folder = targets[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{targets[0].name}.", dir=folder))
    try:
        yield tuple(scratch / target.name for target in targets)
        for target in targets:
            (scratch / target.name).replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
