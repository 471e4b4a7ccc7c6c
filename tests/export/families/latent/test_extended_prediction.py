"""Prediction of a tile as part of a larger one, against the exporter's reference network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hyvic_export.families.latent.entropy_model import entropy_model
from hyvic_export.families.latent.integer_network import run_reference
from hyvic_export.families.registry import exportable
from hyvic_runtime.families.latent.border_smoothing import extended_prediction
from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.families.latent.entropy_path import EntropyPath, load_entropy_path
from hyvic_runtime.families.registry import read_bundle
from hyvic_train.families.latent.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def bundle(exported_bundle: Path) -> LatentBundle:
    return read_bundle(exported_bundle)


@pytest.fixture(scope="module")
def path(bundle: LatentBundle) -> EntropyPath:
    return load_entropy_path(bundle)


@pytest.mark.parametrize("coded", [(2, 2), (1, 2), (2, 1), (1, 1)])
def test_a_tile_is_predicted_as_part_of_a_larger_one_that_goes_on(
    bundle: LatentBundle, path: EntropyPath, tiny_checkpoint: Path, coded: tuple[int, int]
) -> None:
    channels, size = bundle.manifest.hyperlatent_channels, bundle.manifest.geometry.latents
    hyperlatent = np.random.default_rng(0).integers(-3, 4, (channels, *coded))
    # Whatever comes two cells behind the end is out of reach.
    larger = np.pad(hyperlatent, [(0, 0), *((0, 5 - cells) for cells in coded)], mode="edge")
    network = entropy_model(exportable(load_checkpoint(tiny_checkpoint).model)).network
    expected = run_reference(network, larger, lambda part, scale_index, mean_steps: np.zeros_like(mean_steps))

    continued = extended_prediction(path.predict, hyperlatent, bundle.manifest.geometry)

    assert np.array_equal(continued.scale_index, expected.scale_index[:, :size, :size])
    assert np.array_equal(continued.mean_steps, expected.mean_steps[:, :size, :size])
    alone = path.predict(np.pad(hyperlatent, [(0, 0), *((0, 2 - cells) for cells in coded)])[None])
    assert not np.array_equal(continued.mean_steps, alone.mean_steps[0])
