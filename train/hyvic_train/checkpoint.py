"""Checkpoints: safetensors weights beside the JSON configuration that made them.

    DIR/config.json             TrainingConfig, or a context model's AdaptiveTrainingConfig
    DIR/model.safetensors       weights
    DIR/rd.json                 rate and distortion on every validation scene, at every rate level; of a context model
                                bits at several quantiser steps
    DIR/best/                   the same three of the best validation so far
    DIR/resume.safetensors      weights and Adam's states of one step, for --resume (not published)

Nothing here can execute: no pickle. Each file is written under a temporary name and renamed, and what a resumed
run needs is one file, so that a kill at any moment leaves one whole state.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from hyvic_runtime.support.atomic_file import replacing
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hyvic_train.config import TrainingConfig
from hyvic_train.families.adaptive.config import AdaptiveTrainingConfig
from hyvic_train.families.adaptive.context_model import ContextModel
from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.families.registry import model_from_config
from hyvic_train.run_config import RunConfig, json_from_config, run_config_from_json

WEIGHTS, CONFIG, POINTS, RESUME, BEST = "model.safetensors", "config.json", "rd.json", "resume.safetensors", "best"

Json = dict[str, Any]

CODING_TABLES = ("_offset", "_quantized_cdf", "_cdf_length", "scale_table")


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or not of the architecture its configuration names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model with the configuration that it was trained under."""

    model: CodecModel
    config: TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveCheckpoint:
    """A context model with the configuration that it was trained under."""

    model: ContextModel
    config: AdaptiveTrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Where a run stands.

    Attributes:
        step: gradient steps done.
        best_loss: smallest validation loss so far, and None before the first validation.
    """

    step: int = 0
    best_loss: float | None = None


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The tensors that a checkpoint keeps."""
    return {k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith(CODING_TABLES)}


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], config: RunConfig, step: int, points: Json) -> None:
    """Write configuration, weights and what they measured."""
    with replacing(folder / CONFIG) as (partial,):
        partial.write_text(json.dumps(json_from_config(config), indent=2) + "\n", encoding="utf-8")
    with replacing(folder / POINTS) as (partial,):
        partial.write_text(json.dumps({"step": step, **points}, indent=1) + "\n", encoding="utf-8")
    with replacing(folder / WEIGHTS) as (partial,):
        partial.write_bytes(save(tensors, {"step": str(step)}))


def save_state(
    folder: Path,
    model: nn.Module,
    config: RunConfig,
    optimisers: Sequence[torch.optim.Optimizer],
    state: RunState,
) -> None:
    """Write what a resumed run needs, as one file, so that a kill at any moment leaves one whole state."""
    tensors = {f"model.{name}": tensor for name, tensor in weights(model).items()}
    for index, optimiser in enumerate(optimisers):
        for parameter, values in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{parameter}.{key}": value.contiguous() for key, value in values.items()}
    with replacing(folder / RESUME) as (partial,):
        metadata = {"state": json.dumps(asdict(state)), "config": json.dumps(json_from_config(config))}
        partial.write_bytes(save(tensors, metadata))


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint and rebuild its model, in evaluation mode.

    Raises:
        CheckpointError: a file is missing or damaged, a weight is absent, misshapen or not finite.
    """
    config = read_checkpoint_config(folder)
    model = model_from_config(config.model)
    _fill_from(folder, model)
    return Checkpoint(model=model.eval(), config=config)


def load_context_model(folder: Path) -> AdaptiveCheckpoint:
    """Read a context model's checkpoint; see `load_checkpoint`."""
    config = read_run_config(folder)
    if not isinstance(config, AdaptiveTrainingConfig):
        raise CheckpointError(f"{folder} holds a model of family {config.model.family}; a context model is needed here")
    model = ContextModel(config.model)
    _fill_from(folder, model)
    return AdaptiveCheckpoint(model=model.eval(), config=config)


def read_checkpoint_config(folder: Path) -> TrainingConfig:
    """The configuration that a checkpoint of a codec was trained under; see `read_run_config`."""
    config = read_run_config(folder)
    if not isinstance(config, TrainingConfig):
        raise CheckpointError(f"{folder} holds a context model (family adaptive); a codec's is needed here")
    return config


def read_run_config(folder: Path) -> RunConfig:
    """The configuration that a checkpoint was trained under.

    Raises:
        CheckpointError: missing or damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; a checkpoint is a folder that train-model wrote")
    try:
        return run_config_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _fill_from(folder: Path, model: nn.Module) -> None:
    """Fill a model with a checkpoint's weights."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; a checkpoint is a folder that train-model wrote")
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file ({error})") from error
    fill(model, tensors, path)


def fill(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Fill a model with tensors that must be exactly its own."""
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


def resume(folder: Path, config: RunConfig, model: nn.Module, optimisers: Sequence[torch.optim.Optimizer]) -> RunState:
    """Restore weights and optimisers to continue from.

    Raises:
        CheckpointError: nothing to resume from, or a run of another configuration.
    """
    path = folder / RESUME
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimisers]
    tensors = {}
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = RunState(**json.loads(metadata["state"]))
            before = dict(json.loads(metadata["config"]))
            for name in file.keys():  # noqa: SIM118 - a safetensors handle is no mapping
                owner, _, rest = name.partition(".")
                if owner == "model":
                    tensors[rest] = file.get_tensor(name)
                else:
                    index, parameter, key = rest.split(".")
                    states[int(index)].setdefault(int(parameter), {})[key] = file.get_tensor(name)
    except (OSError, ValueError, TypeError, KeyError, IndexError, SafetensorError) as error:
        raise CheckpointError(f"{path} holds no state to resume ({error}); start the run without --resume") from error
    now = json_from_config(config)
    differing = [
        f"{section}.{key}"
        for section in now
        for key in now[section]
        if (before.get(section) or {}).get(key) != now[section][key]
    ]
    if differing:
        raise CheckpointError(
            f"{folder} was trained with another {', '.join(differing)}; resume with the configuration it began with"
        )
    fill(model, tensors, path)
    for optimiser, moments in zip(optimisers, states, strict=True):
        optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    return state
