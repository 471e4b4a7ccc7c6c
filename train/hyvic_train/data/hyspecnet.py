"""HySpecNet-11k as published (Fuchs and Demir, IGARSS 2023; https://hyspecnet.rsim.berlin).

    hyspecnet-11k/
      patches/TILE/PATCH/PATCH-SPECTRAL_IMAGE.TIF   224 bands of 128 × 128, int16, no-data -32768 (EnMAP L2A)
      patches/TILE/PATCH/PATCH-DATA.npy             202 bands of 128 × 128, float32, reflectance 0…1
      splits/{easy,hard}/{train,val,test}.csv       a line: TILE/PATCH/PATCH-DATA.npy

Where each fact comes from:

- folders, names and formats: the data set's page, "HySpecNet-11k Description" (its source is the repository
  rsim-tu-berlin/hyspecnet.rsim.berlin); 70, 20 and 10 % of 11,483 patches train, validate and test;
- bands 127-141 and 161-167 (1-based) have strong water vapour absorption and are to be left out: the page's FAQ. In an
  original patch exactly these 22 of the 224 hold no-data everywhere, and the rest is the 202-band patch;
- what a `-DATA.npy` holds: the authors' notebook `tif_to_npy.ipynb` (rsim/hyspecnet-tools), which the archives do not
  save one from running. It keeps the 202 bands, clips to 0…10,000, divides by 10,000 and writes float32, band first;
- the lines of the split files: the authors' `HySpecNet11k` loader, which joins them to `patches/`. They name `.npy`
  files that the archives do not contain; where the notebook was not run, the GeoTIFF beside is read instead, with the
  same clipping, so that crops are the same (torchgeo's loader does likewise).

The clipping leaves zeros where there is no data. A pixel that is zero in all bands is therefore taken to have none; a
single band without data in a pixel becomes zero, as in the published preprocessing. (The darkest pixel of the water
patch checked has 96 bands above zero.)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from hyvic_runtime.errors import SceneError
from numpy.typing import NDArray

from hyvic_train.config import DataConfig, ModelConfig
from hyvic_train.data.array_file import array_start, mapped
from hyvic_train.data.cubes import Part, TrainingCube
from hyvic_train.data.patch_set import PatchLayout, only_folder, read_patch_set, split_of_files
from hyvic_train.data.stored_units import REFLECTANCE_SCALE, StoredUnits

TITLE = "HySpecNet-11k"
SIDE = 128
ENMAP_BANDS = 224
DROPPED_BANDS = (*range(127, 142), *range(161, 168))
KEPT_BANDS = tuple(band for band in range(1, ENMAP_BANDS + 1) if band not in DROPPED_BANDS)
"""1-based, as EnMAP and GDAL count."""
_PREPROCESSED, _ORIGINAL = "-DATA.npy", "-SPECTRAL_IMAGE.TIF"


@dataclass(frozen=True, slots=True, kw_only=True)
class HySpecNetLayout(PatchLayout):
    """Storage of a patch, in the folder of its tile."""

    title: ClassVar[str] = TITLE
    bands: ClassVar[int] = len(KEPT_BANDS)
    side: ClassVar[int] = SIDE

    def stored_at(self, entry: str) -> Path | None:
        """Return the preprocessed patch, or else the original one."""
        base = entry.removesuffix(_PREPROCESSED).removesuffix(_ORIGINAL)
        candidates = (self.folder / (base + suffix) for suffix in (_PREPROCESSED, _ORIGINAL))
        return next((path for path in candidates if path.is_file()), None)

    def check_header(self, path: Path) -> None:
        """Refuse another shape or type, and floats beyond reflectances."""
        if path.suffix == ".npy":
            start = array_start(path)
            if start.shape != (self.bands, SIDE, SIDE) or start.values.dtype.kind not in "iuf":
                wanted = f"({self.bands}, {SIDE}, {SIDE}) of floats or integers"
                raise SceneError(
                    f"shape {start.shape} of {start.values.dtype}, {wanted} is needed (band, line, sample)"
                )
            self.units.digital_numbers(start.values)
            return
        with _opened(path) as dataset:
            shape, dtypes = (dataset.count, *dataset.shape), dataset.dtypes
        if shape != (ENMAP_BANDS, SIDE, SIDE) or any(np.dtype(dtype).kind not in "iu" for dtype in dtypes):
            wanted = f"({ENMAP_BANDS}, {SIDE}, {SIDE}) of integers"
            raise SceneError(f"shape {shape} of {dtypes[0]}, {wanted} is needed (band, line, sample)")

    def read(self, path: Path, lines: slice, samples: slice) -> NDArray[np.float32]:
        """Read a part, 0…10,000, (202, line, sample); NaN where all bands are zero."""
        if path.suffix == ".npy":
            values = self.units.digital_numbers(mapped(path)[:, lines, samples])
        else:
            with _opened(path) as dataset:
                window = tuple(part.indices(SIDE)[:2] for part in (lines, samples))
                values = dataset.read(KEPT_BANDS, window=window).astype(np.float32)
        np.maximum(values, 0, out=values)
        np.minimum(values, REFLECTANCE_SCALE, out=values)
        missing = ~(values.max(axis=0) > 0)  # true for NaN in any band, too
        if missing.any():
            values[:, missing] = np.nan
        return values


_filters = Lock()
"""Lock of the process's warning filters; two threads that set and reset the filters at once would mix them up."""


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a GeoTIFF for its header or a window of it, where the runtime's reader would load the whole patch."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # coordinates are not needed
        # The driver by name: a text file called .tif must not make GDAL open what it names.
        dataset = rasterio.open(path, driver="GTiff")
    with dataset:
        yield dataset


def read_hyspecnet(
    paths: Sequence[Path], config: DataConfig, model: ModelConfig, parts: Sequence[Part]
) -> dict[Part, tuple[TrainingCube, ...]]:
    """Find the patches of train.csv, val.csv or test.csv.

    Raises:
        SceneError: every problem of the set in one message.
    """
    folder = only_folder(paths, TITLE, "patches/ and splits/")
    entries, problems = split_of_files(folder / "splits" / (config.split or "easy"), parts)
    layout = HySpecNetLayout(folder=folder / "patches", units=StoredUnits(scale=config.scale, most=1.0))
    return read_patch_set(layout, entries, config, model, problems)
