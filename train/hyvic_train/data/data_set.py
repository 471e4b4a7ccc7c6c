"""The data set of a run: cubes to train on, and cubes to measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hyvic_train.config import DataConfig, ModelConfig
from hyvic_train.data.cubes import Part, SceneSplit, TrainingCube
from hyvic_train.data.hyspecnet import read_hyspecnet
from hyvic_train.data.mlretset import read_mlretset
from hyvic_train.data.scene_folder import read_scenes

_READERS = {"scenes": read_scenes, "hyspecnet-11k": read_hyspecnet, "mlretset": read_mlretset}


def read_split(paths: Sequence[Path], config: DataConfig, model: ModelConfig) -> SceneSplit:
    """Find and check the data set that `config` names under `paths`.

    Raises:
        SceneError: every problem of the set in one message, before any work.
    """
    parts = _READERS[config.dataset](paths, config, model, ("train", "val"))
    return SceneSplit(training=parts["train"], validation=parts["val"])


def read_part(paths: Sequence[Path], config: DataConfig, model: ModelConfig, part: Part) -> tuple[TrainingCube, ...]:
    """Find and check one part of a data set; see `read_split`."""
    return _READERS[config.dataset](paths, config, model, (part,))[part]
