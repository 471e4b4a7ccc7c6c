"""Session fixtures: golden bundles, tiny checkpoints, and the shipped model with a real scene.

Fixtures that train or export import torch when a test asks for them; tests of the runtime ask for golden bundles alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from golden_bundles import unpack_bundle
from scenes import SHIPPED_CHECKPOINT, TILE

pytest.register_assert_rewrite("stream_contract", "live_contract", "board_contract", "damaged_streams")

# Two test processes of one machine would otherwise compete for its cores; `make test` says 1.
os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Golden bundle of HyVIC: 20 bands, three rates, tiles of 32."""
    return unpack_bundle("hyvic", tmp_path_factory.mktemp("bundle") / "tiny.bundle")


@pytest.fixture(scope="session")
def tiny_joint_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Golden bundle of the joint codec: 20 bands, three rates, three slices, tiles of 32."""
    return unpack_bundle("joint", tmp_path_factory.mktemp("bundle") / "tiny-joint.bundle")


@pytest.fixture(scope="session")
def tiny_adaptive_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Golden bundle of the scene-adaptive codec: random weights, tiles of 32."""
    return unpack_bundle("adaptive", tmp_path_factory.mktemp("bundle") / "tiny-adaptive.bundle")


def _made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder `name` that the first of the session's test processes made; the others wait for it."""
    from filelock import FileLock

    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        done = Path(f"{folder}.done")
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HyVIC model of 20 bands and three rates, trained for a few steps."""
    from tiny_models import train_hyvic

    return _made_once(tmp_path_factory, "checkpoint", train_hyvic)


@pytest.fixture(scope="session")
def tiny_joint_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Joint codec of the same bands and rates, in three slices that see their neighbours."""
    from tiny_models import train_joint

    return _made_once(tmp_path_factory, "joint-checkpoint", train_joint)


@pytest.fixture(scope="session")
def tiny_context_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Context model of random weights."""
    from tiny_models import save_random_context_model

    return _made_once(tmp_path_factory, "context-checkpoint", save_random_context_model)


@pytest.fixture(scope="session")
def exported_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of `tiny_checkpoint`, tiles of 32."""
    from hyvic_export.exporter import bundle_from_checkpoint

    return _made_once(
        tmp_path_factory, "exported.bundle", lambda out: bundle_from_checkpoint(tiny_checkpoint, out, tile=TILE)
    )


@pytest.fixture(scope="session")
def exported_joint_bundle(tiny_joint_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of `tiny_joint_checkpoint`, tiles of 32."""
    from hyvic_export.exporter import bundle_from_checkpoint

    return _made_once(
        tmp_path_factory,
        "exported-joint.bundle",
        lambda out: bundle_from_checkpoint(tiny_joint_checkpoint, out, tile=TILE),
    )


@pytest.fixture(scope="session")
def exported_adaptive_bundle(tiny_context_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of `tiny_context_checkpoint`, tiles of 32."""
    from hyvic_export.exporter import bundle_from_checkpoint

    return _made_once(
        tmp_path_factory,
        "exported-adaptive.bundle",
        lambda out: bundle_from_checkpoint(tiny_context_checkpoint, out, tile=TILE),
    )


@pytest.fixture(scope="session")
def shipped_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of the shipped checkpoint."""
    from hyvic_export.exporter import bundle_from_checkpoint

    return _made_once(
        tmp_path_factory, "hyvic-s-202.bundle", lambda out: bundle_from_checkpoint(SHIPPED_CHECKPOINT, out)
    )


@pytest.fixture(scope="session")
def indian_pines(shipped_bundle: Path) -> np.ndarray:
    """Indian Pines on the shipped bundle's bands, (145, 145, 202) uint16."""
    from hyvic_compare.indian_pines import load_indian_pines
    from hyvic_runtime.families.registry import read_bundle
    from hyvic_runtime.scene.scene import resample_bands

    wavelengths = read_bundle(shipped_bundle).manifest.wavelengths
    assert wavelengths is not None
    return resample_bands(load_indian_pines(), np.array(wavelengths)).cube
