"""Checkpoints of context models."""

from __future__ import annotations

from pathlib import Path

from hyvic_runtime.families.adaptive.bundle import ADAPTIVE

from hyvic_train import checkpoint
from hyvic_train.families.adaptive.config import AdaptiveTrainingConfig, adaptive_config_from_json
from hyvic_train.families.adaptive.context_model import ContextModel


def load_context_model(folder: Path) -> checkpoint.Checkpoint[ContextModel, AdaptiveTrainingConfig]:
    """Read a checkpoint of a context model and rebuild the model; see `checkpoint.load`."""
    config = checkpoint.read_config(folder, adaptive_config_from_json, (ADAPTIVE,))
    return checkpoint.load(folder, config, ContextModel(config.model))
