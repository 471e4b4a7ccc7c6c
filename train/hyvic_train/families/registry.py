"""The model families, in one place: what a configuration's `model` section builds."""

from __future__ import annotations

from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.joint_codec import JointCodec
from hyvic_train.families.latent.model_config import HyVICConfig, ModelConfig


def model_from_config(config: ModelConfig) -> CodecModel:
    """A model with random weights."""
    return HyVIC(config) if isinstance(config, HyVICConfig) else JointCodec(config)
