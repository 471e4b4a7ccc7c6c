"""Tiny models of 20 bands and three rates, made in seconds: checkpoints for tests of export and training.

Run `python tests/support/tiny_models.py` to make tests/golden/bundles anew; the README in that folder says when.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from golden_bundles import pack_arrays
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_runtime.families.adaptive.contexts import CONTEXTS
from hyvic_train.checkpoint import save_checkpoint, weights
from hyvic_train.data.cubes import SceneSplit
from hyvic_train.entropy_path_layer import Arithmetic
from hyvic_train.families.adaptive.context_model import ContextModel
from hyvic_train.families.latent.config import config_from_json
from hyvic_train.families.latent.training import train
from hyvic_train.families.registry import run_config_from_json
from hyvic_train.training_loop import Run
from scenes import BANDS, BUNDLES, TILE, smooth_cube
from training_cubes import cube_in_memory

HYVIC = {"bands": BANDS, "latent_channels": 20, "hyperlatent_channels": 12, "spatial_stages": 2, "rates": 3}
JOINT = HYVIC | {
    "family": "joint",
    "latent_channels": 18,
    "feature_channels": 12,
    "slices": 3,
    "slice_channels": 10,
    "slice_kernel_size": 3,
    "extraction_blocks": 1,
    "spectral_features": 2,
    "attention_block": 4,
}


def train_hyvic(folder: Path) -> None:
    """Train a HyVIC model for 40 steps."""
    _train(HYVIC, folder, steps=40)


def train_joint(folder: Path) -> None:
    """Train a joint codec of three slices for 12 steps."""
    _train(JOINT, folder, steps=12)


def _train(model: dict[str, object], folder: Path, steps: int) -> None:
    config = config_from_json(
        {
            "model": model,
            "optimisation": {
                "lmbda": [1e-5, 1e-4, 1e-3],
                "steps": steps,
                "integer_path_steps": steps // 4,
                "batch_size": 4,
                "klt_step": 30,
                "hyperprior_learning_rate": 2e-3,
                "checkpoint_every": steps,
            },
            "data": {"crop": 32, "wavelengths": list(np.linspace(420, 2450, BANDS)), "remove_mean_spectrum": True},
        }
    )
    cubes = [np.moveaxis(smooth_cube(64, 64, BANDS, seed), -1, 0).astype(np.float32) for seed in (1, 2, 3)]
    cubes = [cube - cube.mean(axis=(1, 2), keepdims=True) for cube in cubes]
    scenes = SceneSplit(training=tuple(cube_in_memory(str(i), c) for i, c in enumerate(cubes)), validation=())
    train(config, scenes, Run(out=folder))


def save_random_context_model(folder: Path) -> None:
    """Save a context model of random weights, calibrated on random contexts."""
    config = run_config_from_json({"model": {"family": "adaptive", "width": 8}, "optimisation": {"steps": 1}})
    torch.manual_seed(0)
    model = ContextModel(config.model)
    with torch.no_grad():
        # The outputs must differ, and no scale may be so small that no coefficient fits.
        model.last.weight *= torch.tensor([20, 40, 40])[:, None, None, None]
        model.last.bias[0] = 4
        model.arithmetic = Arithmetic.OBSERVED
        model.outputs(torch.randint(-64, 256, (1, CONTEXTS, 1, 4096)).float())
    save_checkpoint(folder, weights(model), config, 1, {})


def main(out: Path) -> None:
    """Make the three bundles in `out`, which loses what it held of them."""
    for name, make in (("hyvic", train_hyvic), ("joint", train_joint), ("adaptive", save_random_context_model)):
        shutil.rmtree(out / name, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="hyvic-golden-") as scratch:
            make(Path(scratch))
            bundle_from_checkpoint(Path(scratch), out / name, tile=TILE)
        pack_arrays(out / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLES)
