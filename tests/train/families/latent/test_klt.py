from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.klt import initialise
from hyvic_train.families.latent.model_config import HyVICConfig
from scenes import smooth_cube


def _tiles(count: int) -> torch.Tensor:
    cubes = [smooth_cube(32, 32, 10, seed) for seed in range(count)]
    return torch.from_numpy(np.stack([np.moveaxis(c, -1, 0) for c in cubes]).astype(np.float32))


@pytest.mark.parametrize("stages", [0, 1, 2])
def test_training_starts_from_a_working_codec(stages: int) -> None:
    torch.manual_seed(0)
    tiles = _tiles(4)
    config = HyVICConfig(bands=10, latent_channels=50, hyperlatent_channels=40, spatial_stages=stages)
    model = HyVIC(config).eval()
    initialise(model, lambda: [tiles], step=4.0, lmbdas=[1e-2])
    with torch.no_grad():
        error = (model(tiles).reconstruction - tiles).square().mean().item()
    # Noise of standard deviation 8 is what the 40 components cannot all carry; the signal itself has power 1e6.
    assert error < 100


@pytest.mark.parametrize("hyperprior", ["log2", "compressai"])
@torch.no_grad()
def test_every_latent_starts_with_the_spread_of_its_channel(hyperprior: Literal["log2", "compressai"]) -> None:
    model = HyVIC(HyVICConfig(bands=10, latent_channels=4, hyperlatent_channels=3, hyperprior=hyperprior)).eval()
    mean, spread = torch.tensor([-3.0, 0.0, 1.0, 40.0]), torch.tensor([0.25, 1.0, 8.0, 100.0])
    model.start_entropy_path(mean, spread)
    model.h_s[4].weight.zero_()
    scales, means = (values[0, :, 0, 0] for values in model.scales_and_means(torch.zeros(1, 3, 2, 2)))
    torch.testing.assert_close(scales, spread)
    torch.testing.assert_close(means, mean)


def test_a_coarser_step_costs_fewer_bits_and_more_distortion() -> None:
    tiles = _tiles(4)
    figures = []
    for step in (8.0, 80.0):
        torch.manual_seed(0)
        model = HyVIC(HyVICConfig(bands=10, latent_channels=20, hyperlatent_channels=12)).eval()
        initialise(model, lambda: [tiles], step=step, lmbdas=[1e-2])
        with torch.no_grad():
            output = model(tiles)
        figures.append((output.bits().sum().item(), (output.reconstruction - tiles).square().mean().item()))
    assert figures[1][0] < figures[0][0]
    assert figures[1][1] > figures[0][1]


def test_rates_start_a_square_root_of_lambda_apart() -> None:
    torch.manual_seed(0)
    tiles = _tiles(4)
    model = HyVIC(HyVICConfig(bands=10, latent_channels=20, hyperlatent_channels=12, rates=3)).eval()
    initialise(model, lambda: [tiles], step=20.0, lmbdas=[1e-4, 1e-3, 1e-2])
    gain, inverse = model.gains(torch.arange(3.0))
    assert torch.allclose(gain[1], torch.ones(()))
    assert torch.allclose(gain[2] / gain[0], torch.tensor(10.0))
    assert torch.allclose(gain * inverse, torch.ones(()))
    with torch.no_grad():
        bits = [model(tiles, torch.full((4,), level)).bits().sum().item() for level in (0.0, 1.0, 2.0)]
    assert bits == sorted(bits)
