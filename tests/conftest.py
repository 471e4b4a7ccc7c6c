"""Shared fixtures: small scenes, a small calibrated model, and its bundle."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

# Two test processes of one machine would otherwise fight for its cores.
os.environ.setdefault("OMP_NUM_THREADS", "2")

ROOT = Path(__file__).parent.parent
SHIPPED_CHECKPOINT = ROOT / "checkpoints" / "hyvic-s-202"
BANDS = 20


def smooth_cube(lines: int, samples: int, bands: int, seed: int = 0) -> np.ndarray:
    """A scene with the structure of one: few materials, smooth spectra, smooth abundances, sensor noise."""
    rng = np.random.default_rng(seed)
    knots = rng.uniform(300, 4000, (4, 6))
    spectra = np.stack([np.interp(np.linspace(0, 5, bands), np.arange(6), k) for k in knots])
    y, x = np.mgrid[:lines, :samples] / 24.0
    phases = rng.uniform(0, 6, (4, 2))
    abundance = np.stack([1 + np.sin(x * (i + 1) + a) * np.cos(y + b) for i, (a, b) in enumerate(phases)], axis=-1)
    abundance /= abundance.sum(axis=-1, keepdims=True) + 0.1
    return np.rint(abundance @ spectra + rng.normal(0, 8, (lines, samples, bands))).clip(0, 65535).astype(np.uint16)


TINY_MODEL = {"bands": BANDS, "latent_channels": 20, "hyperlatent_channels": 12, "spatial_stages": 2, "rates": 3}
TINY_JOINT_MODEL = TINY_MODEL | {
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


def _trained(model: dict[str, object], folder: Path, steps: int) -> Path:
    """A checkpoint of a few steps on synthetic scenes."""
    from hyvic_train.data.data_set import NamedCube, SceneSplit
    from hyvic_train.families.latent.config import config_from_json
    from hyvic_train.families.latent.training import train
    from hyvic_train.training_loop import Run

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
    scenes = SceneSplit(training=tuple(NamedCube(name=str(i), cube=c) for i, c in enumerate(cubes)), validation=())
    train(config, scenes, Run(out=folder))
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HyVIC model of 20 bands and three rates."""
    return _trained(TINY_MODEL, tmp_path_factory.mktemp("checkpoint"), steps=40)


@pytest.fixture(scope="session")
def tiny_joint_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A joint codec of the same bands and rates, in three slices that see their neighbours."""
    return _trained(TINY_JOINT_MODEL, tmp_path_factory.mktemp("joint-checkpoint"), steps=12)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny HyVIC model exported with tiles of 32."""
    from hyvic_export.exporter import bundle_from_checkpoint

    out = tmp_path_factory.mktemp("bundle") / "tiny.bundle"
    bundle_from_checkpoint(tiny_checkpoint, out, tile=32)
    return out


@pytest.fixture(scope="session")
def tiny_joint_bundle(tiny_joint_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny joint codec exported with tiles of 32."""
    from hyvic_export.exporter import bundle_from_checkpoint

    out = tmp_path_factory.mktemp("bundle") / "tiny-joint.bundle"
    bundle_from_checkpoint(tiny_joint_checkpoint, out, tile=32)
    return out


@pytest.fixture(scope="session")
def tiny_context_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A context model of random weights, watched on random contexts."""
    import torch
    from hyvic_runtime.families.adaptive.contexts import CONTEXTS
    from hyvic_train.checkpoint import save_checkpoint, weights
    from hyvic_train.entropy_path_layer import Arithmetic
    from hyvic_train.families.adaptive.context_model import ContextModel
    from hyvic_train.families.registry import run_config_from_json

    config = run_config_from_json({"model": {"family": "adaptive", "width": 8}, "optimisation": {"steps": 1}})
    torch.manual_seed(0)
    model = ContextModel(config.model)
    with torch.no_grad():
        # Outputs that differ, and scales at which no coefficient is out of the question.
        model.last.weight *= torch.tensor([20, 40, 40])[:, None, None, None]
        model.last.bias[0] = 4
        model.arithmetic = Arithmetic.OBSERVED
        model.outputs(torch.randint(-64, 256, (1, CONTEXTS, 1, 4096)).float())
    folder = tmp_path_factory.mktemp("context-checkpoint")
    save_checkpoint(folder, weights(model), config, 1, {})
    return folder


@pytest.fixture(scope="session")
def tiny_adaptive_bundle(tiny_context_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That model exported with tiles of 32."""
    from hyvic_export.exporter import bundle_from_checkpoint

    out = tmp_path_factory.mktemp("bundle") / "tiny-adaptive.bundle"
    bundle_from_checkpoint(tiny_context_checkpoint, out, tile=32)
    return out


@pytest.fixture(scope="session")
def shipped_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped checkpoint, exported."""
    from hyvic_export.exporter import bundle_from_checkpoint

    out = tmp_path_factory.mktemp("bundle") / "hyvic-s-202.bundle"
    bundle_from_checkpoint(SHIPPED_CHECKPOINT, out)
    return out


@pytest.fixture(scope="session")
def indian_pines(shipped_bundle: Path) -> np.ndarray:
    """Indian Pines on the shipped bundle's bands, (145, 145, 202) uint16."""
    from hyvic_compare.indian_pines import load_indian_pines
    from hyvic_runtime.families.registry import read_bundle
    from hyvic_runtime.scene.scene import resample_bands

    wavelengths = read_bundle(shipped_bundle).manifest.wavelengths
    assert wavelengths is not None
    return resample_bands(load_indian_pines(), np.array(wavelengths)).cube
