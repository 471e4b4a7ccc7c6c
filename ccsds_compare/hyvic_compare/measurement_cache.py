"""Measurements kept on disk, under names that depend on everything measured.

    CACHE/ab/ab12….json     one measurement; Python's JSON, in which the PSNR of an exact reconstruction is Infinity
    CACHE/ab/ab12….npz      its preview

The name is a SHA-256 of the scene's content, the codec's identity, the target and the peak. Each file appears whole or
not at all.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from hyvic_runtime.support.atomic_file import replacing
from numpy.typing import NDArray

from hyvic_compare.codecs.codec import NamedCodec
from hyvic_compare.measure_codec import Measured
from hyvic_compare.results import Measurement, Preview

_VERSION = 1
"""Version of the measures; a new version makes all measurements be taken again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementCache:
    """Folder of measurements.

    Attributes:
        folder: path, created at the first entry.
    """

    folder: Path

    def key(self, scene_digest: str, codec: NamedCodec, target_ratio: float | None, peak: float) -> str:
        """Return the key of a measurement."""
        what = json.dumps([_VERSION, scene_digest, codec.name, codec.identity, target_ratio, peak])
        return hashlib.sha256(what.encode()).hexdigest()

    def get(self, key: str, *, pixels: NDArray[np.intp] | None) -> Measured | None:
        """Return a measurement, under the name that its scene had then; None if it, or its preview, is not there.

        Args:
            key: key of the measurement.
            pixels: (pixel, 2) of the preview's spectra, or None if no preview is wanted.
        """
        from pydantic import TypeAdapter

        try:
            measurement = TypeAdapter(Measurement).validate_json(self._path(key, ".json").read_bytes())
            shown = None if pixels is None or measurement.gap is not None else self._preview(key, pixels)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # missing, or written by others
            return None
        return Measured(measurement=measurement, preview=shown)

    def put(self, key: str, measured: Measured, *, pixels: NDArray[np.intp] | None) -> None:
        """Keep a measurement, and its preview of these pixels."""
        if pixels is not None and measured.preview is not None and measured.preview.error is not None:
            with replacing(self._path(key, ".npz")) as (partial,):
                np.savez_compressed(
                    partial,
                    true_colour=measured.preview.true_colour,
                    error=measured.preview.error,
                    spectra=measured.preview.spectra,
                    pixels=pixels,
                )
        with replacing(self._path(key, ".json")) as (partial,):
            partial.write_text(json.dumps(asdict(measured.measurement)) + "\n", encoding="utf-8")

    def _preview(self, key: str, pixels: NDArray[np.intp]) -> Preview:
        with np.load(self._path(key, ".npz"), allow_pickle=False) as arrays:
            if not np.array_equal(arrays["pixels"], pixels):
                raise ValueError("its spectra are of other pixels")
            return Preview(true_colour=arrays["true_colour"], error=arrays["error"], spectra=arrays["spectra"])

    def _path(self, key: str, suffix: str) -> Path:
        return self.folder / key[:2] / f"{key}{suffix}"
