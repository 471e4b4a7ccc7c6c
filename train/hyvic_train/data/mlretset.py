"""MLRetSet (Ömrüuzun et al., Remote Sensing 16, 2024, 1462; https://doi.org/10.17605/OSF.IO/H2T8U).

    MLRetSet/
      data/0001_*.mat, …         3,840 MATLAB files, each one array (line, sample, band) of 100 × 100 × 369, float64
      splits/{train,val}.csv     a line: a file name below data/

Where each fact comes from: numbers and size from the seed paper, section IV-A2, which also gives the centre crop to
96 × 96 (IV-B); folder, format, axes and type from the loader that the seed paper's authors use (rsim/hycass,
`datasets/mlretset.py`), which takes the only array of a file as it is. They make the split files themselves, by a
notebook that is not published with the data: 70, 20 and 10 % of the patches, at random.

Not known here: the range of the values. The loader feeds them unscaled to models that see HySpecNet-11k from 0 to 1,
so they are read as reflectances, and refused where they exceed 2 (specular glints pass 1); `data.scale` overrules.

A MATLAB file cannot be read in part. Where NAME.npy lies beside NAME.mat, it is read instead, memory-mapped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from hyvic_runtime.errors import SceneError
from numpy.typing import NDArray

from hyvic_train.config import DataConfig, ModelConfig
from hyvic_train.data.array_file import array_start, mapped
from hyvic_train.data.cubes import WHOLE, Part, TrainingCube
from hyvic_train.data.patch_set import PatchLayout, only_folder, read_patch_set, split_of_files
from hyvic_train.data.stored_units import StoredUnits

TITLE = "MLRetSet"
STORED_SHAPE = (100, 100, 369)
SIDE = 96
_CENTRE = slice((STORED_SHAPE[0] - SIDE) // 2, (STORED_SHAPE[0] + SIDE) // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class MLRetSetLayout(PatchLayout):
    """Storage of a patch.

    Attributes:
        no_data: stored value that marks a pixel without data; None: no value does.
    """

    title: ClassVar[str] = TITLE
    bands: ClassVar[int] = STORED_SHAPE[2]
    side: ClassVar[int] = SIDE
    no_data: float | None

    def stored_at(self, entry: str) -> Path | None:
        """Return the `.npy` file of an entry, or else the MATLAB file."""
        path = self.folder / entry
        return next((p for p in (path.with_suffix(".npy"), path.with_suffix(".mat")) if p.is_file()), None)

    def check_header(self, path: Path) -> None:
        """Refuse another shape, and floats in `.npy` beyond reflectances."""
        if path.suffix == ".npy":
            start = array_start(path)
            _check_shape(start.shape)
            self.units.digital_numbers(start.values)
        else:
            _variable(path)

    def read(self, path: Path, lines: slice, samples: slice) -> NDArray[np.float32]:
        """Read a part of the centre, (369, line, sample); NaN where a band is NaN or no-data."""
        stored = (mapped(path) if path.suffix == ".npy" else _matlab_array(path))[_CENTRE, _CENTRE][lines, samples]
        values = self.units.digital_numbers(np.ascontiguousarray(np.moveaxis(stored, -1, 0)))
        missing = np.isnan(values).any(axis=0)
        if self.no_data is not None:
            missing |= (stored == self.no_data).any(axis=-1)
        values[:, missing] = np.nan
        return values

    def whole(self, path: Path) -> NDArray[np.float32]:
        """Read the whole centre, whatever value the run takes for no-data."""
        return replace(self, no_data=None).read(path, WHOLE, WHOLE)


def read_mlretset(
    paths: Sequence[Path], config: DataConfig, model: ModelConfig, parts: Sequence[Part]
) -> dict[Part, tuple[TrainingCube, ...]]:
    """Find the patches of some parts.

    Raises:
        SceneError: every problem of the set in one message.
    """
    folder = only_folder(paths, TITLE, "data/ and splits/")
    if config.split == "random":
        names = sorted({p.stem for p in (folder / "data").glob("*") if p.suffix in (".mat", ".npy")})
        split = _random_split(names)
        entries: dict[Part, list[str]] = {part: split[part] for part in parts}
        problems = [] if names else [f"{folder / 'data'} holds no .mat or .npy file"]
    else:
        entries, problems = split_of_files(folder / "splits", parts, "; set data.split to random to split by file name")
    units = StoredUnits(scale=config.scale, most=2.0)
    layout = MLRetSetLayout(folder=folder / "data", units=units, no_data=config.no_data)
    return read_patch_set(layout, entries, config, model, problems)


def _random_split(names: Sequence[str]) -> dict[Part, list[str]]:
    """Split by hash, the same on every machine: 70, 20 and 10 %."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    first, second = len(order) * 7 // 10, len(order) * 9 // 10
    return {"train": order[:first], "val": order[first:second], "test": order[second:]}


def _variable(path: Path) -> str:
    import scipy.io

    cubes = [(name, tuple(shape)) for name, shape, _ in scipy.io.whosmat(path) if len(shape) == 3]
    if len(cubes) != 1:
        raise SceneError(f"holds {len(cubes)} arrays with 3 axes, one is needed")
    _check_shape(cubes[0][1])
    return str(cubes[0][0])


def _matlab_array(path: Path) -> NDArray[Any]:
    import scipy.io

    name = _variable(path)
    array: NDArray[Any] = scipy.io.loadmat(path, variable_names=[name])[name]
    return array


def _check_shape(shape: tuple[int, ...]) -> None:
    if shape != STORED_SHAPE:
        raise SceneError(f"shape {shape}, {STORED_SHAPE} (line, sample, band) is needed")
