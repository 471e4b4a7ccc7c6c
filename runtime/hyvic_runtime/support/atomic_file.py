"""Outputs appear whole or not at all, and no folder, device or foreign folder content is replaced."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Paths to write, each renamed to its target when the block ends well and removed when it does not.

    The temporary names keep the suffix, since writers choose their format by it. Targets lie in one folder; they
    are renamed one after another, so that of several files (a header and its data) a crash may leave the first.

    Raises:
        FileExistsError: a target exists and is no regular file.
    """
    for target in targets:
        if target.exists() and not target.is_file():
            raise FileExistsError(17, f"{target} exists and is no regular file; name another")
    folder = targets[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{targets[0].name}.", dir=folder) as scratch:
        partial = tuple(Path(scratch) / target.name for target in targets)
        yield partial
        for source, target in zip(partial, targets, strict=True):
            source.replace(target)


def check_replaceable(target: Path, contents: Collection[str]) -> None:
    """Refuse a folder that `replacing_folder` would, before any work is done for it.

    Raises:
        FileExistsError: `target` is no folder, or holds something else.
    """
    if target.exists():
        others = (
            sorted(p.name for p in target.iterdir() if p.name not in contents) if target.is_dir() else [target.name]
        )
        if others:
            raise FileExistsError(17, f"{target} holds {others[0]}, so it is not replaced; name another")


@contextmanager
def replacing_folder(target: Path, *, contents: Collection[str]) -> Iterator[Path]:
    """An empty folder to fill, renamed to `target` when the block ends well and removed when it does not.

    Args:
        target: created, or replaced if it holds nothing but `contents`.
        contents: names of the files that a folder of this kind may hold.

    Raises:
        FileExistsError: `target` is no folder, or holds something else.
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
                raise OSError(errno.ENOSPC, f"no space left for {target}; free some or name another place") from error
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
