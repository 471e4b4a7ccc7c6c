"""Codecs under evaluation: trained models by their entropy model's estimate, bundles by their real streams."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from hyvic_runtime.codec.bundle_files import MANIFEST
from hyvic_runtime.codec.scene_encoder import DEFAULT_QUALITY, scene_stream
from hyvic_runtime.codec.seen_scenes import SeenScenes, seen_scenes_of
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.scene.scene import Scene
from numpy.typing import NDArray

from hyvic_train.checkpoint import CONFIG, WEIGHTS, CheckpointError, training_data_of
from hyvic_train.families.latent.checkpoint import LatentCheckpoint, load_checkpoint
from hyvic_train.families.latent.validation import quality_of_level

MEAN_BITS = 16
"""Bits per band of the mean spectrum that a scene header carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Operating point of a codec.

    Attributes:
        lmbda: λ that it was trained for; None: it was trained for another, or for none.
        quality: quality as `encode-scene --quality` counts it.
    """

    lmbda: float | None
    quality: float

    @property
    def label(self) -> str:
        """Short name for plots."""
        return f"quality {self.quality:g}" if self.lmbda is None else f"λ {self.lmbda:g}"


class Codec(Protocol):
    """Codec under evaluation.

    Attributes:
        name: name in tables and plots.
        kind: `estimate` of an entropy model, or `stream`.
        sha256: identity of the weights or of the bundle.
        peak: largest digital number, for PSNR and SSIM.
        bands: number of bands; None: any.
        cell: side that lines and samples must be multiples of.
        points: its operating points.
        seen_scenes: scenes that it was trained on.
    """

    name: str
    kind: str
    sha256: str
    peak: float
    bands: int | None
    cell: int
    points: tuple[Point, ...]
    seen_scenes: SeenScenes

    def coded(self, cube: NDArray[np.float32], points: Sequence[Point]) -> Iterator[tuple[float, NDArray[np.float32]]]:
        """Yield bits and reconstruction (band, line, sample) of a patch, point by point."""
        ...


class CheckpointCodec:
    """A latent codec's checkpoint in torch, with real rounding; the rate is its entropy model's estimate."""

    kind = "estimate"

    def __init__(self, folder: Path) -> None:
        self._checkpoint: LatentCheckpoint = load_checkpoint(folder)
        self._checkpoint.model.eval()
        config = self._checkpoint.config
        self.name, self.data = folder.name, config.data
        self.sha256 = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        self.seen_scenes = training_data_of(folder).seen_scenes
        self.peak, self.cell = config.model.peak, config.model.cell
        self.bands: int | None = config.model.bands
        lmbdas = config.optimisation.lmbdas
        self.points = tuple(
            Point(lmbda=lmbda, quality=quality_of_level(level, len(lmbdas))) for level, lmbda in enumerate(lmbdas)
        )

    @torch.no_grad()
    def coded(self, cube: NDArray[np.float32], points: Sequence[Point]) -> Iterator[tuple[float, NDArray[np.float32]]]:
        """Code a patch; the mean spectrum, where the model codes without it, counts as the stream would carry it."""
        model = self._checkpoint.model
        mean, extra = np.zeros(len(cube), np.float32), 0
        if self.data.remove_mean_spectrum:
            mean, extra = np.rint(cube.mean(axis=(1, 2), dtype=np.float64)).astype(np.float32), MEAN_BITS * len(cube)
        x = model.batch_of(cube - mean[:, None, None])
        for point in points:
            output = model(x, x.new_full((1,), self.points.index(point)))
            yield float(output.bits().sum()) + extra, output.reconstruction[0].cpu().numpy() + mean[:, None, None]


class BundleCodec:
    """A bundle of any family; the rate counts all octets of its packets."""

    kind = "stream"

    def __init__(self, folder: Path, qualities: Sequence[float]) -> None:
        bundle = read_bundle(folder)
        self._encoder, self._decoder = encoder_of(bundle), decoder_of(bundle)
        manifest = bundle.manifest
        self.name, self.sha256 = folder.name, bundle.identity.hex()
        self.seen_scenes = seen_scenes_of(bundle)
        self.peak, self.bands, self.cell = manifest.peak, manifest.bands, 1
        self._wavelengths = None if manifest.wavelengths is None else np.array(manifest.wavelengths)
        # A bundle of a single rate has nothing to choose; its streams name the default.
        self._has_rates = manifest.rates > 1
        self.points = tuple(
            Point(lmbda=None, quality=quality) for quality in (qualities if self._has_rates else (DEFAULT_QUALITY,))
        )

    def coded(self, cube: NDArray[np.float32], points: Sequence[Point]) -> Iterator[tuple[float, NDArray[np.float32]]]:
        """Encode and decode a patch of whole digital numbers."""
        whole = np.rint(cube)
        if whole.min() < 0 or whole.max() > np.iinfo(np.uint16).max:
            raise ValueError(
                f"digital numbers from {whole.min():g} to {whole.max():g}; bundles are measured on 0..65535"
            )
        pixels = np.ascontiguousarray(np.moveaxis(whole, 0, -1)).astype(np.uint16)
        scene = Scene(cube=pixels, wavelengths=self._wavelengths)
        for point in points:
            stream = scene_stream(self._encoder, scene, quality=point.quality if self._has_rates else None)
            decoded = self._decoder.decode(stream).scene.cube
            yield 8 * len(stream), np.moveaxis(decoded, -1, 0).astype(np.float32)


def codec_of(folder: Path, qualities: Sequence[float]) -> Codec:
    """Return the codec of a folder that `train-model` or `export-engine` wrote.

    Args:
        folder: run or bundle.
        qualities: qualities at which a bundle is measured.

    Raises:
        CheckpointError: the folder holds neither.
    """
    if (folder / MANIFEST).is_file():
        return BundleCodec(folder, qualities)
    if (folder / CONFIG).is_file():
        return CheckpointCodec(folder)
    raise CheckpointError(f"{folder} holds neither {CONFIG} of train-model nor {MANIFEST} of export-engine")
