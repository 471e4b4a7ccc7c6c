"""Checkpoints: safetensors weights beside the JSON configuration that made them.

    DIR/config.json             configuration of the run, of any family
    DIR/model.safetensors       weights
    DIR/rd.json                 what the validation measured, at every operating point and on every validation scene
    DIR/training_data.json      names and content hashes of the scenes that the weights come from, see `TrainingData`
    DIR/best/                   the same four files of the best validation so far
    DIR/resume.safetensors      weights and Adam's states of one step, for --resume (not published)

Nothing here can execute: no pickle. Each file is written under a temporary name and renamed. A resumed run needs one
file only, so a kill at any moment leaves one whole state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from hyvic_runtime.support.atomic_file import replacing
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hyvic_train.config import WITHOUT_EFFECT, RunConfig, family_of, json_from_config
from hyvic_train.training_data import UNKNOWN, TrainingData, training_data_from_json

WEIGHTS, CONFIG, POINTS, RESUME, BEST = "model.safetensors", "config.json", "rd.json", "resume.safetensors", "best"
TRAINING_DATA = "training_data.json"

Json = dict[str, Any]
AnyModel = TypeVar("AnyModel", bound=nn.Module)
AnyConfig = TypeVar("AnyConfig", bound=RunConfig)

CODING_TABLES = ("_offset", "_quantized_cdf", "_cdf_length", "scale_table")


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or not of the architecture its configuration names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Generic[AnyModel, AnyConfig]):
    """A model with the configuration that it was trained under."""

    model: AnyModel
    config: AnyConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Progress of a run.

    Attributes:
        step: gradient steps done.
        best_loss: smallest validation loss so far; None before the first validation.
        data: scenes that were read so far, by all processes and before every interruption.
    """

    step: int = 0
    best_loss: float | None = None
    data: TrainingData = field(default_factory=TrainingData)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that a checkpoint keeps."""
    return {k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith(CODING_TABLES)}


def save_checkpoint(
    folder: Path,
    tensors: dict[str, Tensor],
    config: RunConfig,
    step: int,
    points: Json,
    data: TrainingData = UNKNOWN,
) -> None:
    """Write configuration, weights, their measurements and the scenes that they come from, if these are known."""
    if data != UNKNOWN:
        with replacing(folder / TRAINING_DATA) as (partial,):
            document = json.dumps(data.document(), indent=1, ensure_ascii=False)
            partial.write_text(document + "\n", encoding="utf-8")
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
    """Write all that a resumed run needs, as one file."""
    tensors = {f"model.{name}": tensor for name, tensor in weights(model).items()}
    for index, optimiser in enumerate(optimisers):
        for parameter, values in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{parameter}.{key}": value.contiguous() for key, value in values.items()}
    with replacing(folder / RESUME) as (partial,):
        metadata = {"state": json.dumps(asdict(state)), "config": json.dumps(json_from_config(config))}
        partial.write_bytes(save(tensors, metadata))


def training_data_of(path: Path) -> TrainingData:
    """Return the scenes that weights come from; unknown where their folder says nothing, or where they are a lone file.

    Raises:
        CheckpointError: the file of a checkpoint's folder is damaged.
    """
    file = path / TRAINING_DATA
    if not file.is_file():
        return UNKNOWN
    try:
        return training_data_from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: {error}; copy the checkpoint again, or remove this file") from error


def load(folder: Path, config: AnyConfig, model: AnyModel) -> Checkpoint[AnyModel, AnyConfig]:
    """Fill a model that a checkpoint's configuration made with its weights, in evaluation mode.

    Raises:
        CheckpointError: the file is missing or damaged, a weight is absent, misshapen or not finite.
    """
    path = _existing(folder / WEIGHTS)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file ({error})") from error
    fill(model, tensors, path)
    return Checkpoint(model=model.eval(), config=config)


def read_config(
    folder: Path, from_json: Callable[[object], AnyConfig], families: Collection[str] | None = None
) -> AnyConfig:
    """Read the configuration that a checkpoint was trained under.

    Args:
        folder: folder of the checkpoint.
        from_json: validates the document.
        families: names of the families that the caller can use; None: any.

    Raises:
        CheckpointError: missing or damaged, or of another family.
    """
    path = _existing(folder / CONFIG)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        family = family_of(document)
        if families is None or family in families:
            return from_json(document)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    raise CheckpointError(f"{folder} holds a model of family {family}; {' or '.join(families)} is needed here")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; a checkpoint is a folder that train-model wrote")
    return path


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
            recorded = json.loads(metadata["state"])
            data = recorded.pop("data", None)  # an earlier release did not note it
            state = RunState(**recorded, data=UNKNOWN if data is None else training_data_from_json(data))
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
        if f"{section}.{key}" not in WITHOUT_EFFECT and (before.get(section) or {}).get(key) != now[section][key]
    ]
    if differing:
        raise CheckpointError(
            f"{folder} was trained with another {', '.join(differing)}; resume with the configuration it began with"
        )
    fill(model, tensors, path)
    for optimiser, moments in zip(optimisers, states, strict=True):
        optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    return state
