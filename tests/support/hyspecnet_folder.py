"""Names in a HySpecNet-11k of the published layout."""

from __future__ import annotations

from pathlib import Path

TILE = "ENMAP01-____L2A-DT0000004950_20221103T162438Z_001_V010110_20221118T145147Z"


def patch_entry(number: int) -> str:
    """A line of a published split file."""
    patch = f"{TILE}-Y01460273_X{number:08d}"
    return f"{TILE}/{patch}/{patch}-DATA.npy"


def write_splits(root: Path, split: str = "easy", **entries: list[str]) -> None:
    """Write the split files of a folder."""
    folder = root / "splits" / split
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in entries.items():
        (folder / f"{name}.csv").write_text("".join(f"{line}\n" for line in lines))
