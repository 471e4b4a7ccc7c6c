"""GeoTIFF opened for its header or a window of it, where the runtime's reader would load the whole scene."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hyvic_runtime.errors import SceneError


@contextmanager
def open_geotiff(path: Path) -> Iterator[Any]:
    """Open a file as a rasterio data set.

    Raises:
        SceneError: rasterio is missing, or the file cannot be read.
    """
    try:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
    except ImportError as error:
        raise SceneError(f"{path}: reading GeoTIFF needs rasterio: pip install 'hyvic-onboard[formats]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # coordinates are not needed
            # The driver by name: a text file called .tif must not make GDAL open what it names.
            with rasterio.open(path, driver="GTiff") as dataset:
                yield dataset
    except RasterioIOError as error:
        raise SceneError(f"{path}: not a readable GeoTIFF ({' '.join(str(error).split())})") from error
