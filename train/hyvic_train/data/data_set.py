"""The data set of a run: cubes to train on, cubes to measure, and the batches that training sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hyvic_train.config import DataConfig, SceneNeeds
from hyvic_train.data.crops import ALONE, Shard, crops, crops_per_epoch
from hyvic_train.data.cubes import NamedCube, TrainingCube
from hyvic_train.data.hyspecnet import read_hyspecnet
from hyvic_train.data.mlretset import read_mlretset
from hyvic_train.data.scene_folder import read_scenes

__all__ = ["ALONE", "NamedCube", "SceneSplit", "Shard", "TrainingCube", "crops", "crops_per_epoch", "read_split"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSplit:
    """Scenes or patches to train on, and others only to measure.

    Pixels are read at every use of `cube`, and an archive may be larger than memory: hold one cube at a time.
    """

    training: tuple[TrainingCube, ...]
    validation: tuple[TrainingCube, ...]


_READERS = {"scenes": read_scenes, "hyspecnet-11k": read_hyspecnet, "mlretset": read_mlretset}


def read_split(paths: Sequence[Path], config: DataConfig, model: SceneNeeds) -> SceneSplit:
    """Find and check the data set that `config` names under `paths`.

    Raises:
        SceneError: every problem of the set in one message, before any work.
    """
    training, validation = _READERS[config.dataset](paths, config, model)
    return SceneSplit(training=training, validation=validation)
