"""Checkpoints: safetensors weights beside the JSON configuration that made them.

    DIR/model.safetensors       weights
    DIR/config.json             TrainingConfig
    DIR/optimiser.safetensors   both Adam states, for --resume (absent from a published checkpoint)

Nothing here can execute: no pickle. The files of a state are written under temporary names and renamed;
the step stands in both tensor files, so that a crash between two renames is noticed and not resumed from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from hyvic_runtime.atomic_file import replacing_group
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from hyvic_train.config import ConfigError, TrainingConfig, config_from_json, json_from_config
from hyvic_train.hyvic import HyVIC

WEIGHTS, CONFIG, OPTIMISER = "model.safetensors", "config.json", "optimiser.safetensors"

# CompressAI's coding tables, which this toolkit computes at export instead.
_DERIVED = ("_offset", "_quantized_cdf", "_cdf_length", "scale_table")


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or not of the architecture its configuration names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model with the configuration that it was trained under."""

    model: HyVIC
    config: TrainingConfig


def weights(model: HyVIC) -> dict[str, Tensor]:
    """The tensors that a checkpoint keeps."""
    return {k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith(_DERIVED)}


def save_checkpoint(
    folder: Path, model: HyVIC, config: TrainingConfig, optimisers: tuple[torch.optim.Adam, ...], step: int
) -> None:
    """Write weights, configuration and what a resumed run needs."""
    metadata = {"step": str(step)}
    states = {
        f"{index}.{parameter}.{key}": value
        for index, optimiser in enumerate(optimisers)
        for parameter, state in optimiser.state_dict()["state"].items()
        for key, value in state.items()
    }
    with replacing_group(*(folder / name for name in (CONFIG, WEIGHTS, OPTIMISER))) as (
        config_at,
        weights_at,
        states_at,
    ):
        config_at.write_text(json.dumps(json_from_config(config), indent=2) + "\n", encoding="utf-8")
        save_file(weights(model), weights_at, metadata)
        save_file(states, states_at, metadata)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint and rebuild its model, in evaluation mode.

    Raises:
        CheckpointError: a file is missing or damaged, a weight is absent, misshapen or not finite.
    """
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing; a checkpoint is a folder that train-model wrote")
    try:
        config = config_from_json(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (ValueError, ConfigError) as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error
    model = HyVIC(config.model)
    load_weights(model, folder / WEIGHTS)
    return Checkpoint(model=model.eval(), config=config)


def load_weights(model: HyVIC, path: Path) -> None:
    """Fill a model from a weights file whose tensors are exactly the model's."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file ({error})") from error
    expected = weights(model)
    if missing := sorted(expected.keys() - tensors.keys()):
        raise CheckpointError(f"{path} lacks {len(missing)} weights of this architecture, such as {missing[0]}")
    if unknown := sorted(tensors.keys() - expected.keys()):
        raise CheckpointError(f"{path} holds {len(unknown)} weights of another architecture, such as {unknown[0]}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, "
                f"its configuration asks for {tuple(expected[name].shape)}"
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name} holds NaN or infinity; this training run diverged")
    model.load_state_dict(tensors, strict=False)


def load_progress(folder: Path, model: HyVIC, optimisers: tuple[torch.optim.Adam, ...]) -> int:
    """Restore weights and optimisers to continue from; gives the steps done.

    Raises:
        CheckpointError: nothing to resume from, or files of different steps.
    """
    try:
        steps = {_step(folder / WEIGHTS), _step(folder / OPTIMISER)}
        states = load_file(folder / OPTIMISER)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{folder} holds no run to resume ({error}); start it without --resume") from error
    if len(steps) != 1:
        raise CheckpointError(f"{folder} mixes files of steps {sorted(steps)}; restore one state or start anew")
    load_weights(model, folder / WEIGHTS)
    for index, optimiser in enumerate(optimisers):
        document = optimiser.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in states.items():
            owner, parameter, key = name.split(".")
            if int(owner) == index:
                state.setdefault(int(parameter), {})[key] = tensor
        optimiser.load_state_dict({**document, "state": state})
    return steps.pop()


def _step(path: Path) -> int:
    with safe_open(path, framework="pt") as file:
        return int((file.metadata() or {})["step"])
