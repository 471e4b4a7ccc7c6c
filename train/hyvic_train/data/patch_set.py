"""Data sets of patches: thousands of small files of one shape, named by split files.

Every header is checked before any work. Pixels are read when a crop is cut, and the file is closed again: neither
memory nor open files grow with the data set.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import numpy as np
from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene.content_hash import content_sha256
from numpy.typing import NDArray

from hyvic_train.config import DataConfig, ModelConfig
from hyvic_train.data.cubes import WHOLE, Part, TrainingCube
from hyvic_train.data.stored_units import StoredUnits

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchLayout(ABC):
    """Storage of a data set of patches.

    Attributes:
        title: usual name of the data set.
        bands: number of bands of a patch, as the model sees it.
        side: number of lines and samples of a patch, as the model sees it.
        folder: folder of the patches.
        units: units of values in floating point.
    """

    title: ClassVar[str]
    bands: ClassVar[int]
    side: ClassVar[int]
    folder: Path
    units: StoredUnits

    @abstractmethod
    def stored_at(self, entry: str) -> Path | None:
        """Return the file of an entry of a split file; None without any."""

    @abstractmethod
    def check_header(self, path: Path) -> None:
        """Refuse a file whose header or first values do not belong to the set."""

    @abstractmethod
    def read(self, path: Path, lines: slice, samples: slice) -> NDArray[np.float32]:
        """Read a part as (band, line, sample) digital numbers, NaN in every band of a pixel without data."""

    def whole(self, path: Path) -> NDArray[np.float32]:
        """Read the whole patch as its content hash is taken of it: as `read`, with no option of a run in effect."""
        return self.read(path, WHOLE, WHOLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPixels:
    """Pixels of one patch, on disk.

    Attributes:
        path: file of the patch.
        layout: storage of its data set.
        remove_mean_spectrum: whether the patch's mean spectrum, in whole digital numbers, is subtracted.
    """

    path: Path
    layout: PatchLayout
    remove_mean_spectrum: bool

    def read(self, lines: slice, samples: slice) -> NDArray[np.float32]:
        """Read a part as (band, line, sample) digital numbers, NaN in every band of a pixel without data."""
        try:
            if not self.remove_mean_spectrum:
                return self.layout.read(self.path, lines, samples)
            whole = self.layout.read(self.path, WHOLE, WHOLE)
            valid = ~np.isnan(whole[0])
            if valid.any():
                whole -= np.rint(whole[:, valid].mean(axis=1, dtype=np.float64)).astype(np.float32)[:, None, None]
            return whole[:, lines, samples]
        except Exception as error:
            raise _unreadable(self.path, error) from error

    def stored_sha256(self) -> str:
        """Return the content hash of the digital numbers of the patch, all of its bands, zero where there is no data.

        So a patch has one hash in every file format that the data set is read in.
        """
        try:
            whole = np.nan_to_num(self.layout.whole(self.path), nan=0)
            return content_sha256(np.moveaxis(whole.astype(np.int32), 0, -1))
        except Exception as error:
            raise _unreadable(self.path, error) from error


def read_patch_set(
    layout: PatchLayout,
    entries: Mapping[Part, Sequence[str]],
    config: DataConfig,
    model: ModelConfig,
    problems: Iterable[str] = (),
) -> dict[Part, tuple[TrainingCube, ...]]:
    """Find the patches of some parts, and check that every file is there and looks right.

    Args:
        layout: layout of the data set.
        entries: entries of the split, by part.
        config: exclusions and cutting of crops.
        model: the patches must have its bands, if it names any.
        problems: problems found already, to be reported with the others.

    Raises:
        SceneError: every problem of the set in one message.
    """
    found = [*problems]
    if model.bands not in (None, layout.bands):
        found.append(f"{layout.title} has {layout.bands} bands, model.bands is {model.bands}; set it to {layout.bands}")
    if config.crop > layout.side:
        found.append(f"data.crop is {config.crop}; patches have {layout.side}×{layout.side} pixels, so lower it")
    kept: dict[Part, list[str]] = {
        part: [entry for entry in listed if not config.excludes(entry)] for part, listed in entries.items()
    }
    for (one, first), (other, second) in combinations(kept.items(), 2):
        if both := set(first) & set(second):
            found.append(f"{len(both)} patches are both in {one} and in {other}: {first_few(sorted(both))}")
    paths = {entry: layout.stored_at(entry) for listed in kept.values() for entry in listed}
    if missing := [entry for entry, path in paths.items() if path is None]:
        found.append(
            f"{len(missing)} of {len(paths)} patches are missing: {first_few(missing)}; unpack every archive of the set"
        )
    present = {entry: path for entry, path in paths.items() if path is not None}
    if unfit := [problem for path in present.values() if (problem := _header_problem(layout, path))]:
        found.append(f"{len(unfit)} of {len(paths)} patches do not fit: {first_few(unfit)}")
    if not (next(iter(kept.values())) or found):
        found.append(f"{layout.title} has no patch in {next(iter(kept))}; is data.exclude too wide?")
    if found:
        raise SceneError("; ".join(found))

    def cube(entry: str) -> TrainingCube:
        source = PatchPixels(path=present[entry], layout=layout, remove_mean_spectrum=config.remove_mean_spectrum)
        size = (layout.side, layout.side)
        return TrainingCube(name=Path(entry).stem, size=size, pixels=layout.side**2, source=source)

    return {part: tuple(map(cube, listed)) for part, listed in kept.items()}


def only_folder(paths: Sequence[Path], title: str, contents: str) -> Path:
    """Return the one folder that a data set lies in."""
    if len(paths) != 1 or not paths[0].is_dir():
        raise SceneError(
            f"{title} is read from one folder, which holds {contents}; "
            f"{', '.join(map(str, paths))} {'is no folder' if len(paths) == 1 else 'are several'}"
        )
    return paths[0]


def split_of_files(folder: Path, parts: Sequence[Part], advice: str = "") -> tuple[dict[Part, list[str]], list[str]]:
    """Read the entries of train.csv, val.csv or test.csv, and what is wrong with these files.

    The files hold comma-separated values, of which every cell names a patch.

    Args:
        folder: folder of the split files.
        parts: parts to read.
        advice: what to do where one cannot be read.
    """
    entries: dict[Part, list[str]] = {part: [] for part in parts}
    problems = []
    for part, listed in entries.items():
        path = folder / f"{part}.csv"
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                listed += [cell.strip() for row in csv.reader(file) for cell in row if cell.strip()]
        except FileNotFoundError:
            problems.append(f"{path} is missing; it lists one patch a line{advice}")
        except (OSError, ValueError, csv.Error) as error:
            problems.append(f"{path}: not a readable list of patches ({' '.join(str(error).split())}){advice}")
        else:
            problems += [] if listed else [f"{path} is empty; it lists one patch a line{advice}"]
    return entries, problems


def _header_problem(layout: PatchLayout, path: Path) -> str | None:
    try:
        layout.check_header(path)
    except Exception as error:
        return str(_unreadable(path, error))
    return None


def _unreadable(path: Path, error: Exception) -> SceneError:
    """Make one error of the exceptions that libraries have for a damaged file."""
    reason = " ".join(str(error).split())
    if isinstance(error, ImportError):
        return SceneError(f"{path}: reading it needs {error.name}: pip install 'hyvic-onboard[formats]'")
    if isinstance(error, SceneError):
        return error if str(path) in reason else SceneError(f"{path}: {reason}")
    return SceneError(f"{path}: not a readable '{path.suffix}' file ({reason})")


def first_few(items: Sequence[str]) -> str:
    """Name the first few of many, and count the others."""
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
