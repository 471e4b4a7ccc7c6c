"""Writes outputs whole or not at all, and never replaces a device, a folder, or files of another kind."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Give temporary paths to write; rename them to their targets at the end, or remove them after an error.

    The temporary names keep the suffix, because writers choose the format by the suffix. All targets lie in one folder.
    They are renamed one after another, so a crash may leave only the first of several files (a header and its data).

    Raises:
        FileExistsError: a target exists and is not a regular file.
    """
    for target in targets:
        if target.exists() and not target.is_file():
            raise FileExistsError(17, f"{target} exists and is not a regular file; name another")
    folder = targets[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{targets[0].name}.", dir=folder) as scratch:
        partial = tuple(Path(scratch) / target.name for target in targets)
        yield partial
        for source, target in zip(partial, targets, strict=True):
            source.replace(target)


def check_replaceable(target: Path, contents: Collection[str]) -> None:
    """Refuse a folder that `replacing_folder` would refuse, before any work is done.

    Raises:
        FileExistsError: `target` is not a folder, or holds a file that is not in `contents`.
    """
    if target.exists():
        others = (
            sorted(p.name for p in target.iterdir() if p.name not in contents) if target.is_dir() else [target.name]
        )
        if others:
            raise FileExistsError(17, f"{target} holds {others[0]}, so it is not replaced; name another")


@contextmanager
def replacing_folder(target: Path, *, contents: Collection[str]) -> Iterator[Path]:
    """Give an empty temporary folder; rename it to `target` at the end, or remove it after an error.

    Args:
        target: folder to create, or to replace if it holds only `contents`.
        contents: names of the files that a folder of this kind may hold.

    Raises:
        FileExistsError: `target` is not a folder, or holds a file that is not in `contents`.
    """
    check_replaceable(target, contents)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    partial, replaced = scratch / target.name, scratch / "replaced"
    try:
        partial.mkdir()
        try:
            yield partial
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise OSError(errno.ENOSPC, f"no space left for {target}; free some or name another folder") from error
            raise
        if target.exists():
            target.replace(replaced)  # a rename cannot replace a folder that has files
        try:
            partial.replace(target)
        except BaseException:
            if replaced.exists():
                replaced.replace(target)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
