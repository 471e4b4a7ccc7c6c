"""The model families, in one place: what a configuration's `model` section builds."""

from __future__ import annotations

from hyvic_train.codec_model import CodecModel
from hyvic_train.hyvic import HyVIC
from hyvic_train.joint_codec import JointCodec
from hyvic_train.model_config import HyVICConfig, ModelConfig


def model_from_config(config: ModelConfig) -> CodecModel:
    """A model with random weights."""
    return HyVIC(config) if isinstance(config, HyVICConfig) else JointCodec(config)
