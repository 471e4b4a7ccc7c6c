"""Reads and writes scenes in the file formats of the field, always (line, sample, band) in memory.

The formats of NumPy need no other library. The other formats need the extra `formats`, imported on first use.
"""

from __future__ import annotations

import logging
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import SceneError, one_line
from hyvic_runtime.scene.georeference import Georeference, envi_map_info, georeference_from_envi
from hyvic_runtime.scene.scene import Scene, integer_cube
from hyvic_runtime.support.atomic_file import replacing

Wavelengths = NDArray[np.float64] | None


class _Stored(NamedTuple):
    """Content of a file."""

    cube: NDArray[Any]
    wavelengths: Wavelengths = None
    no_data: float | None = None
    georeference: Georeference | None = None


def read_scene(path: Path) -> Scene:
    """Read a scene; the suffix names the format. `.npy` and ENVI are memory-mapped.

    Raises:
        SceneError: the file is missing or unreadable, or does not hold a cube of whole numbers.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise SceneError(f"{path}: no such file")
    if suffix not in _READERS:
        raise SceneError(f"{path}: cannot read '{suffix}' files; use one of {', '.join(_READERS)}")
    try:
        stored = _READERS[suffix](path)
        cube = integer_cube(stored.cube)
        return Scene(
            cube=cube,
            wavelengths=stored.wavelengths,
            no_data=_digital_number(stored.no_data, cube.dtype),
            georeference=stored.georeference,
        )
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error
    except ImportError as error:
        raise SceneError(
            f"{path}: reading '{suffix}' needs {error.name}: pip install 'hyvic-onboard[formats]'"
        ) from error
    # Each library raises its own exceptions for a damaged file, and some raise built-in exceptions.
    except Exception as error:
        raise SceneError(f"{path}: not a readable '{suffix}' file ({one_line(error)})") from error


def write_scene(scene: Scene, path: Path) -> None:
    """Write a scene, whole or not at all; the suffix names the format.

    Raises:
        SceneError: the suffix is unknown, a library is missing, or the folder cannot be written.
    """
    suffix = path.suffix.lower()
    check_writable_format(path)
    try:
        _WRITERS[suffix](scene, path)
    except ImportError as error:
        raise SceneError(
            f"{path}: writing '{suffix}' needs {error.name}: pip install 'hyvic-onboard[formats]'"
        ) from error
    except SceneError:
        raise
    except Exception as error:  # each library raises its own exceptions
        reason = getattr(error, "strerror", None) or one_line(error)
        raise SceneError(f"{path}: cannot be written ({reason})") from error


def check_writable_format(path: Path) -> None:
    """Refuse an output suffix before any work is done."""
    if path.suffix.lower() not in _WRITERS:
        raise SceneError(f"{path}: cannot write '{path.suffix}' files; use one of {', '.join(_WRITERS)}")


def _digital_number(no_data: float | None, dtype: np.dtype[Any]) -> int | None:
    """Return the no-data value of a file, or None if the sample type cannot hold it; an integer cannot hold NaN."""
    limits = np.iinfo(dtype)
    if no_data is None or not limits.min <= no_data <= limits.max or no_data != int(no_data):
        return None
    return int(no_data)


# ---------------------------------------------------------------------------------------------- readers


def _read_npz(path: Path) -> _Stored:
    with zipfile.ZipFile(path) as archive:  # np.load would also accept an .npy file or a pickle under this name
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    if "cube" not in names:
        raise SceneError(f"holds {', '.join(names) or 'nothing'}; the array must be named 'cube'")
    with np.load(path, allow_pickle=False) as arrays:
        return _stored({name: arrays[name] for name in ("cube", "wavelengths", "no_data") if name in names})


def _stored(arrays: dict[str, Any]) -> _Stored:
    """Return the content of a file that stores arrays by name."""
    no_data = arrays.get("no_data")
    return _Stored(
        cube=arrays["cube"],
        wavelengths=_as_wavelengths(arrays.get("wavelengths")),
        no_data=None if no_data is None else float(np.ravel(no_data)[0]),
    )


def _read_npy(path: Path) -> _Stored:
    return _Stored(np.load(path, mmap_mode="r", allow_pickle=False))


def _read_envi(path: Path) -> _Stored:
    from spectral.io import envi

    logging.getLogger("spectral").setLevel(logging.ERROR)  # the code below refuses what it would warn about
    image: Any = envi.open(path)
    if "wavelength" in image.metadata and not image.bands.centers:
        raise SceneError("its wavelengths are not numbers; correct or remove them")
    no_data = _number(image.metadata, "data ignore value")
    map_info = image.metadata.get("map info")
    system = image.metadata.get("coordinate system string", "")
    if isinstance(system, list):  # spectral splits the text in braces at commas, and WKT has many commas
        system = _short_crs(",".join(system))
    return _Stored(
        cube=image.open_memmap(interleave="bip"),
        wavelengths=_as_wavelengths(_nanometres(image.bands)),
        no_data=no_data,
        georeference=georeference_from_envi(map_info, system) if map_info else None,
    )


def _number(metadata: Mapping[str, Any], name: str) -> float | None:
    value = metadata.get(name)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise SceneError(f"{name} is '{value}', not a number; correct or remove it") from error


def reference_system(crs: str) -> Any:
    """Return the rasterio form of the `crs` of a georeference; parses a code or WKT, and never opens a file."""
    from rasterio.crs import CRS

    return CRS.from_wkt(crs) if "[" in crs else CRS.from_authority(*crs.split(":", 1))


def _short_crs(wkt: str) -> str:
    """Return the EPSG code of a reference system, or its WKT without one; the text travels in every scene header."""
    code = reference_system(wkt).to_epsg() if "[" in wkt else None
    return wkt if code is None else f"EPSG:{code}"


def _nanometres(bands: Any) -> list[float] | None:
    if not bands.centers:
        return None
    unit = (bands.band_unit or "unknown").lower()
    # Files use two characters for micro. Without a unit, band centres below 100 must be in micrometres.
    micrometres = unit.startswith(("micro", "um", "µm", "μm")) or (unit == "unknown" and max(bands.centers) < 100)
    return [1000 * c for c in bands.centers] if micrometres else list(bands.centers)


def _read_geotiff(path: Path) -> _Stored:
    with _rasterio_open(path) as dataset:
        tags = [dataset.tags(band).get("wavelength") for band in dataset.indexes]
        georeference = None
        if dataset.crs or not dataset.transform.is_identity:
            authority = dataset.crs.to_authority() if dataset.crs else None
            crs = ":".join(authority) if authority else dataset.crs.to_wkt() if dataset.crs else ""
            georeference = Georeference(transform=tuple(dataset.transform)[:6], crs=crs)
        return _Stored(
            cube=np.moveaxis(dataset.read(), 0, -1),
            wavelengths=_as_wavelengths([float(tag) for tag in tags] if all(tags) else None),
            no_data=dataset.nodata,
            georeference=georeference,
        )


@contextmanager
def _tracebacks_hidden() -> Iterator[None]:
    """Hide the traceback that Python prints for GDAL's error callback; rasterio then raises the error itself."""

    def ignore(*error: object) -> None:
        pass

    hooks = sys.excepthook, sys.unraisablehook
    sys.excepthook = sys.unraisablehook = ignore
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = hooks


_hooks = Lock()
"""Lock of the exception hooks of the process; two threads that set and reset the hooks at once would mix them up."""


@contextmanager
def _rasterio_open(path: Path, mode: str = "r", **profile: Any) -> Iterator[Any]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with _hooks, warnings.catch_warnings(), _tracebacks_hidden():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a scene in sensor geometry is valid
        # Name the driver: a text file called .tif must not make GDAL open other files.
        with rasterio.open(path, mode, driver="GTiff", **profile) as dataset:
            yield dataset


def _read_hdf5(path: Path) -> _Stored:
    import h5py

    file: Any
    with h5py.File(path) as file:
        swaths = [s for s in file.get("HDFEOS/SWATHS", {}).values() if "Data Fields/VNIR_Cube" in s]
        if swaths:
            return _read_prisma(file, swaths[0]["Data Fields"])
        if "cube" not in file:
            raise SceneError(f"holds {', '.join(file)}; the data set must be named 'cube', or be a PRISMA product")
        return _stored({name: file[name][()] for name in ("cube", "wavelengths", "no_data") if name in file})


def _read_prisma(file: Any, fields: Any) -> _Stored:
    """Read a PRISMA product: a (line, band, sample) cube per detector; a centre of 0 nm marks a band not acquired."""
    cubes, centres = [], []
    for detector in ("VNIR", "SWIR"):
        centre = np.asarray(file.attrs[f"List_Cw_{detector.title()}"], np.float64)
        cubes.append(np.moveaxis(fields[f"{detector}_Cube"][()], 1, 2)[..., centre > 0])
        centres.append(centre[centre > 0])
    return _Stored(np.concatenate(cubes, axis=2), np.concatenate(centres))


def _read_matlab(path: Path) -> _Stored:
    import scipy.io

    try:
        variables = scipy.io.loadmat(path)
    except NotImplementedError:  # MATLAB 7.3 files are HDF5, with the axes reversed
        import h5py

        with h5py.File(path) as file:
            variables = {k: np.transpose(v[()]) for k, v in file.items() if isinstance(v, h5py.Dataset)}
    cubes = {name: v for name, v in variables.items() if isinstance(v, np.ndarray) and v.ndim == 3}
    if "cube" not in cubes and len(cubes) != 1:
        raise SceneError(f"holds {len(cubes)} arrays with 3 axes ({', '.join(cubes)}); name the scene 'cube'")
    found = {name: np.ravel(variables[name]) for name in ("wavelengths", "no_data") if name in variables}
    return _stored({"cube": cubes["cube"] if "cube" in cubes else next(iter(cubes.values())), **found})


def _as_wavelengths(values: Any) -> Wavelengths:
    if values is None:
        return None
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise SceneError(f"its wavelengths are {array.dtype}, not numbers in nm")
    return array.astype(np.float64)


# ---------------------------------------------------------------------------------------------- writers


def _arrays(scene: Scene) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"cube": scene.cube}
    if scene.wavelengths is not None:
        arrays["wavelengths"] = scene.wavelengths
    if scene.no_data is not None:
        arrays["no_data"] = np.array(scene.no_data, scene.cube.dtype)
    return arrays


def _write_npz(scene: Scene, path: Path) -> None:
    # Pass an open file: np.savez would append ".npz" to the name "SCENE.NPZ".
    with replacing(path) as (partial,), partial.open("wb") as file:
        np.savez_compressed(file, **_arrays(scene))


def _write_npy(scene: Scene, path: Path) -> None:
    with replacing(path) as (partial,), partial.open("wb") as file:
        np.save(file, scene.cube)


def _write_envi(scene: Scene, path: Path) -> None:
    from spectral.io import envi

    metadata: dict[str, Any] = {}
    if scene.wavelengths is not None:
        metadata = {"wavelength": scene.wavelengths.tolist(), "wavelength units": "Nanometers"}
    if scene.no_data is not None:
        metadata["data ignore value"] = scene.no_data
    if scene.georeference is not None:
        metadata |= _envi_georeference(scene.georeference, path)
    if scene.cube.dtype == np.int8:
        raise SceneError(f"{path}: ENVI has no signed 8-bit type; write .npz or .tif instead")
    data = path.with_suffix(".img")
    if data.exists() and not path.exists():
        raise SceneError(f"{data} exists without a header, so it is not replaced; name another file")
    with replacing(data, path) as (_, header):
        envi.save_image(str(header), scene.cube, interleave="bip", ext="img", metadata=metadata)


def _envi_georeference(georeference: Georeference, path: Path) -> dict[str, Any]:
    map_info = envi_map_info(georeference)
    if map_info is None:
        raise SceneError(f"{path}: ENVI cannot express a rotated or mirrored grid; write .tif instead")
    metadata: dict[str, Any] = {"map info": map_info}
    if georeference.crs and map_info[0] == "Arbitrary":
        system = reference_system(georeference.crs).to_wkt(version="WKT1_ESRI")
        metadata["coordinate system string"] = f"{{{system}}}"
    return metadata


def _write_geotiff(scene: Scene, path: Path) -> None:
    lines, samples, bands = scene.cube.shape
    profile: dict[str, Any] = {"height": lines, "width": samples, "count": bands, "dtype": scene.cube.dtype.name}
    profile |= {"compress": "deflate", "BIGTIFF": "IF_SAFER", "nodata": scene.no_data}
    if scene.georeference is not None:
        from rasterio.transform import Affine

        crs = reference_system(scene.georeference.crs) if scene.georeference.crs else None
        profile |= {"crs": crs, "transform": Affine(*scene.georeference.transform)}
    with replacing(path) as (partial,), _rasterio_open(partial, "w", **profile) as dataset:
        dataset.write(np.moveaxis(scene.cube, -1, 0))
        for band, wavelength in enumerate(() if scene.wavelengths is None else scene.wavelengths, start=1):
            dataset.update_tags(band, wavelength=repr(float(wavelength)), wavelength_units="nm")


def _write_hdf5(scene: Scene, path: Path) -> None:
    import h5py

    with replacing(path) as (partial,), h5py.File(partial, "w") as file:
        for name, array in _arrays(scene).items():
            file.create_dataset(name, data=array, compression="gzip")


def _write_matlab(scene: Scene, path: Path) -> None:
    import scipy.io

    with replacing(path) as (partial,):
        scipy.io.savemat(partial, _arrays(scene), appendmat=False, do_compression=True)


_READERS: dict[str, Callable[[Path], _Stored]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".hdr": _read_envi,
    ".tif": _read_geotiff,
    ".tiff": _read_geotiff,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".he5": _read_hdf5,
    ".mat": _read_matlab,
}
_WRITERS: dict[str, Callable[[Scene, Path], None]] = {
    ".npz": _write_npz,
    ".npy": _write_npy,
    ".hdr": _write_envi,
    ".tif": _write_geotiff,
    ".tiff": _write_geotiff,
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
    ".mat": _write_matlab,
}

READABLE_SUFFIXES = tuple(_READERS)
