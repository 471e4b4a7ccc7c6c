"""What training moves: every parameter, at every λ and width of the paper's Table I."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hyvic_train.data.cubes import SceneSplit
from hyvic_train.families.latent.config import config_from_json
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.klt import best_step, initialise
from hyvic_train.families.latent.model_config import HyVICConfig
from hyvic_train.families.latent.objective import Objective
from hyvic_train.families.latent.training import batch, gradients, make_optimisers, update
from lightning_fabric import Fabric
from scenes import smooth_cube
from training_cubes import cube_in_memory

LMBDAS = (1e-7, 1e-6, 1e-5, 1e-4, 1e-2, 1.0, 1e2, 1e4)
"""Table I."""


def _tiles(bands: int, crop: int) -> torch.Tensor:
    cubes = [smooth_cube(crop, crop, bands, seed) for seed in range(3)]
    return torch.from_numpy(np.stack([np.moveaxis(cube, -1, 0) for cube in cubes]).astype(np.float32))


@pytest.mark.parametrize(
    ("bands", "latents", "features", "stages"),
    [
        *((12, 64, 38, stages) for stages in range(5)),
        (202, 384, 230, 2),
        *(pytest.param(202, *widths, 2, marks=pytest.mark.slow) for widths in ((768, 460), (1280, 768))),
    ],
)
def test_no_parameter_starts_without_a_gradient(bands: int, latents: int, features: int, stages: int) -> None:
    torch.manual_seed(0)
    # Two hyper-latents along each side, so that every tap of every kernel sees a pixel.
    tiles = _tiles(bands, 8 << stages)
    model = HyVIC(
        HyVICConfig(bands=bands, latent_channels=latents, hyperlatent_channels=features, spatial_stages=stages)
    )
    initialise(model, lambda: [tiles], best_step([1e-4]), [1e-4])
    loss, _, _ = Objective(model, [1e-4])(tiles, torch.zeros(len(tiles), dtype=torch.int64))
    torch.autograd.backward(loss)
    without = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        if not bool((parameter.grad != 0).all()):
            without[name] = int((parameter.grad == 0).sum())
    assert not without


@pytest.mark.parametrize("lmbda", LMBDAS)
def test_at_every_lambda_transforms_and_entropy_model_move(lmbda: float) -> None:
    """When one bound held both gradients, the entropy model moved 30 times less at λ = 1 than at 10⁻⁷.

    At λ = 10⁴ it moved 34,000 times less.
    """
    config = config_from_json(
        {
            "model": {"bands": 8, "latent_channels": 12, "hyperlatent_channels": 8},
            "optimisation": {"lmbda": lmbda, "steps": 12, "batch_size": 2, "schedule": "constant"},
            "data": {"crop": 32},
        }
    )
    cubes = [cube_in_memory(str(k), cube.numpy()) for k, cube in enumerate(_tiles(8, 48))]
    scenes = SceneSplit(training=tuple(cubes), validation=())
    torch.manual_seed(0)
    model = HyVIC(config.model)
    initialise(model, lambda: [_tiles(8, 32)], best_step([lmbda]), [lmbda])
    fabric = Fabric(accelerator="cpu", devices=1)
    objective, main, aux = fabric.setup(Objective(model, [lmbda]), *make_optimisers(model, config.optimisation))
    groups = [list(group["params"]) for group in main.param_groups]
    before = [[parameter.detach().clone() for parameter in group] for group in groups]
    for step in range(config.optimisation.steps):
        x = batch(scenes, config, step=step, count=2)
        loss, _ = gradients(fabric, objective, model, x, config, step)
        update(main, aux, loss, step, config.optimisation)
    for group, old in zip(groups, before, strict=True):
        moved = torch.cat([(p.detach() - o).abs().flatten() for p, o in zip(group, old, strict=True)]).mean().item()
        # Adam's first steps are as long as the learning rate, if the gradient keeps its sign and exceeds ε = 1e-8.
        assert moved > 0.1 * config.optimisation.steps * config.optimisation.learning_rate
