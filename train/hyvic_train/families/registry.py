"""The model families: the only module that knows all of them.

A new family is a folder beside this file and a line in FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyvic_runtime.families.adaptive.bundle import ADAPTIVE

from hyvic_train import checkpoint
from hyvic_train.config import ConfigError, RunConfig, family_of
from hyvic_train.data.cubes import SceneSplit
from hyvic_train.families.adaptive import training as adaptive
from hyvic_train.families.adaptive.config import adaptive_config_from_json
from hyvic_train.families.latent import training as latent
from hyvic_train.families.latent.checkpoint import MODELS
from hyvic_train.families.latent.config import config_from_json
from hyvic_train.training_loop import Run, Trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One model family.

    Attributes:
        config_from_json: validates a document.
        check: raises ValueError where a run's options do not fit its configuration.
        train: trains a model on scenes.
    """

    config_from_json: Callable[[object], RunConfig]
    check: Callable[[Any, Run], None]
    train: Callable[[Any, SceneSplit, Run], Trained]


_LATENT = Family(config_from_json=config_from_json, check=latent.check, train=latent.train)
FAMILIES = {
    **dict.fromkeys(MODELS, _LATENT),
    ADAPTIVE: Family(config_from_json=adaptive_config_from_json, check=adaptive.check, train=adaptive.train),
}


def run_config_from_json(document: object) -> RunConfig:
    """Validate a parsed document of any family.

    Raises:
        ConfigError: every problem of the document.
    """
    family = family_of(document)
    if family not in FAMILIES:
        *others, last = FAMILIES
        raise ConfigError(f"model.family is {family}; it must be {', '.join(others)} or {last}")
    return FAMILIES[family].config_from_json(document)


def read_run_config(folder: Path) -> RunConfig:
    """Read the configuration that a checkpoint of any family was trained under.

    Raises:
        CheckpointError: missing or damaged.
    """
    return checkpoint.read_config(folder, run_config_from_json)
