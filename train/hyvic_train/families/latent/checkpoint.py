"""Checkpoints of the latent codecs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hyvic_train import checkpoint
from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.families.latent.config import TrainingConfig, config_from_json
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.joint_codec import JointCodec
from hyvic_train.families.latent.model_config import ModelConfig

MODELS: dict[str, Callable[[Any], CodecModel]] = {"hyvic": HyVIC, "joint": JointCodec}
"""Models by the name of their family."""

LatentCheckpoint = checkpoint.Checkpoint[CodecModel, TrainingConfig]


def model_from_config(config: ModelConfig) -> CodecModel:
    """Return a model with random weights."""
    return MODELS[config.family](config)


def read_checkpoint_config(folder: Path) -> TrainingConfig:
    """Read the configuration of a latent codec's checkpoint; see `checkpoint.read_config`."""
    return checkpoint.read_config(folder, config_from_json, MODELS)


def load_checkpoint(folder: Path) -> LatentCheckpoint:
    """Read a checkpoint of a latent codec and rebuild its model; see `checkpoint.load`."""
    config = read_checkpoint_config(folder)
    return checkpoint.load(folder, config, model_from_config(config.model))
