"""Scenes to calibrate and measure with: the user's, or one that the model itself expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import Scene, mean_spectrum, resample_bands
from hyvic_runtime.scene.tile_grid import TileGeometry
from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.families.latent.config import TrainingConfig
from hyvic_train.integer_path import MEAN_STEP_BITS

from hyvic_export.families.latent.entropy_model import EntropyModel
from hyvic_export.families.latent.integer_network import run_reference, scale_table
from hyvic_export.integer_layer import Integers
from hyvic_export.scene_sample import sample_of

MAX_TILES = 2
"""Number of tiles a side of a sample, from the first line and sample of the scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedScene:
    """A scene on the model's bands, and its name."""

    name: str
    scene: Scene


def sample_scenes(paths: Sequence[Path], config: TrainingConfig, geometry: TileGeometry) -> tuple[NamedScene, ...]:
    """Read scenes, resampled to the model's band centres where both have any.

    Raises:
        SceneError: a scene cannot be read, or has another number of bands.
    """
    scenes = []
    for path in paths:
        scene = read_scene(path)
        if scene.wavelengths is not None and config.data.wavelengths is not None:
            scene = resample_bands(scene, np.array(config.data.wavelengths))
        if scene.cube.shape[2] != config.model.bands:
            raise SceneError(f"{path} has {scene.cube.shape[2]} bands and the model codes {config.model.bands}")
        scenes.append(NamedScene(name=path.name, scene=sample_of(scene, MAX_TILES * geometry.tile)))
    return tuple(scenes)


@torch.no_grad()
def expected_scene(model: CodecModel, entropy: EntropyModel, geometry: TileGeometry) -> NamedScene:
    """Draw a tile from the model's own distributions: ẑ from its prior, y around the means that ẑ predicts."""
    rng = np.random.default_rng(0)
    cells = geometry.hyperlatents
    z_hat = np.stack(
        [
            rng.choice(len(row.mass), (cells, cells), p=row.mass / row.mass.sum()) + row.first
            for row in entropy.distributions[-model.config.hyperlatent_channels :]
        ]
    )

    def drawn(part: int, scale_index: Integers, mean_steps: Integers) -> Integers:
        return np.asarray(np.rint(rng.normal(0, scale_table()[scale_index])), np.int64)

    y = run_reference(entropy.network, z_hat.astype(np.int64), drawn).latent_steps * 2.0**-MEAN_STEP_BITS
    _, inverse_gain = model.gains(torch.tensor([float(model.config.rates - 1)]))
    x = model.synthesise(torch.from_numpy(y.astype(np.float32))[None] * inverse_gain)[0].numpy()
    offset = model.config.peak / 2 - x.mean()
    cube = np.rint(np.moveaxis(x, 0, -1) + offset).clip(0, np.iinfo(np.uint16).max).astype(np.uint16)
    return NamedScene(name="drawn from the model's prior", scene=Scene(cube=np.ascontiguousarray(cube)))


def centred_pixels(named: NamedScene, *, subtract_mean: bool) -> torch.Tensor:
    """Return a scene as the input of the analysis, (1, band, line, sample) float32."""
    cube = named.scene.cube.astype(np.float32)
    if subtract_mean:
        cube -= mean_spectrum(named.scene).astype(np.float32)
    return torch.from_numpy(np.moveaxis(cube, -1, 0).copy())[None]
