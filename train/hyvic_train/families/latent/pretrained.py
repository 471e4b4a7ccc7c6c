"""Weights to start from: a checkpoint of ours, or the state_dict of a CompressAI model of the same architecture.

CompressAI's training scripts save `{"state_dict": ...}` by torch.save, and so would the official HyVIC code: modules
g_a, h_a, h_s, g_s, entropy_bottleneck and gaussian_conditional, as here. Such a file is read as tensors alone
(`weights_only=True`): nothing in it is executed. Two things are not in it, and must be configured:
`model.hyperprior: compressai`, and `model.leaky_slope`, which is 0.01 for `nn.LeakyReLU()`.
"""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from hyvic_train.checkpoint import CODING_TABLES, WEIGHTS, CheckpointError, fill, weights
from hyvic_train.families.latent.checkpoint import read_checkpoint_config
from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.families.latent.model_config import ModelConfig

_OLD_NAMES = {"_matrix": "matrices.", "_bias": "biases.", "_factor": "factors."}


def load_pretrained(model: CodecModel, path: Path) -> None:
    """Fill a model's weights; gains and calibration that the file lacks stay as they are.

    Args:
        model: changed in place.
        path: a checkpoint folder, a .safetensors file, or a state_dict that torch.save wrote.

    Raises:
        CheckpointError: unreadable, or of another architecture than the configuration's.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if path.is_dir():
        _refuse_another_model(model.config, read_checkpoint_config(path).model, path)
    elif file.suffix != ".safetensors" and (obstacle := model.foreign_weights_obstacle):
        raise CheckpointError(f"{path} is CompressAI's; {obstacle}")
    tensors = _read(file)
    own = weights(model)
    started_afresh = (*model.peaks, "log2_gain", "log2_inverse_gain")
    constants = {name for name in own if name.endswith((".pedestal", ".bound", ".target", "scale_bound"))}
    for name in started_afresh:
        if name in tensors and (name not in own or tensors[name].shape != own[name].shape):
            del tensors[name]  # gains of other rates
    for name in (*started_afresh, *constants):
        if name in own:
            tensors.setdefault(name, own[name])
    fill(model, tensors, file)


def _refuse_another_model(wanted: ModelConfig, found: ModelConfig, path: Path) -> None:
    """Rates may differ, since gains are started afresh; a weight means nothing under another peak or hyperprior."""
    if wanted.family != found.family:
        raise CheckpointError(f"{path} was trained with another model.family, {found.family}")
    differing = [
        field.name
        for field in fields(wanted)
        if field.name != "rates" and getattr(wanted, field.name) != getattr(found, field.name)
    ]
    if differing:
        raise CheckpointError(f"{path} was trained with another model.{', model.'.join(differing)}")


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; --weights takes a checkpoint folder or a file of weights")
    try:
        document = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch's unpickler raise nearly anything
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} holds no tensors that can be read safely ({reason})") from error
    if isinstance(document, dict) and isinstance(document.get("state_dict"), dict):
        document = document["state_dict"]
    if not isinstance(document, dict) or not all(isinstance(value, Tensor) for value in document.values()):
        raise CheckpointError(f"{path} is not a state_dict: a mapping of names to tensors is needed")
    return {_name(str(name)): tensor for name, tensor in document.items() if not str(name).endswith(CODING_TABLES)}


def _name(name: str) -> str:
    """Return today's name of a CompressAI parameter, without the prefix that a parallel wrapper leaves."""
    name = name.removeprefix("module.")
    return re.sub(r"(?<=entropy_bottleneck\.)(_matrix|_bias|_factor)(?=\d)", lambda m: _OLD_NAMES[m[0]], name)
