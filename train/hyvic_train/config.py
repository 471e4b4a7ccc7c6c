"""What a training run is told, field by field; stored beside the weights it made.

Validation is pydantic's: every wrong key and every impossible value of a file is reported at once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from hyvic_train.families.latent.model_config import STRICT, AnyModelConfig, refuse

Dataset = Literal["scenes", "hyspecnet-11k", "mlretset"]
Split = Literal["easy", "hard", "random"]
_SPLITS: dict[Dataset, tuple[Split, ...]] = {
    "scenes": (),
    "hyspecnet-11k": ("easy", "hard"),
    "mlretset": ("random",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BandRange:
    """Band centres spread evenly from `start` to `stop`, in nm."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    start: float
    stop: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Which data set is read, how it reaches one band grid, and what is done to its crops.

    Attributes:
        dataset: what lies under `--data`. `scenes`: files and folders of scenes in any format of the runtime;
            `hyspecnet-11k` and `mlretset`: the folder of that public data set as published.
        split: which of the data set's own splits. HySpecNet-11k publishes `easy` (patches of one tile in several
            sets; the paper's, and the one taken where none is named) and `hard` (all patches of a tile in one set).
            MLRetSet publishes none: its folder must then hold splits/train.csv and splits/val.csv, unless `random`
            names 70 % of the patches for training and 20 % for validation here, by a hash of their file names.
        wavelengths: the model's band centres in nm; scenes that know theirs are resampled to them. Patches are
            never resampled: for them it records what the bands are.
        source_wavelengths: file-name pattern -> band centres, for scene files that carry none.
            A YAML file may name a JSON file in place of either list; it is read with the configuration.
        exclude: patterns of files never read, neither to train nor to validate. A pattern is matched against the
            file's name, with and without its extension, and against its path below the folder that was named.
        validation: patterns of the scenes that are only measured, each of one at least. The split is by scene.
        crop: side of the square that training cuts, in pixels.
        flips: whether a crop is mirrored along lines, samples, both or neither, each equally often.
        transposes: whether lines and samples change places in half of the crops; with `flips` these are all
            eight positions of a square.
        gain: standard deviation of the logarithm of the random factor that multiplies a whole crop: brighter
            and darker illumination. 0 leaves digital numbers alone.
        spectral_gain: standard deviation of the random log gain curve that multiplies a crop's spectra; it
            stands for other illuminations, atmospheres and calibrations. 0 leaves spectra alone.
        no_data: stored value that marks a pixel without data, in place of the one that a scene's file names
            (GeoTIFF's nodata, ENVI's `data ignore value`). No crop and no measurement contains such a pixel.
        scale: digital numbers per stored unit of patches in floating point; 10,000 where none is named, since
            reflectances are stored from 0 to 1. Integers are digital numbers already.
        remove_mean_spectrum: whether the model codes what differs from the scene's mean spectrum, which the
            stream then carries (two octets a band and scene). The paper's models see the digital numbers
            themselves; with a handful of training scenes the mean of an unseen sensor is what is missed most.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    dataset: Dataset = "scenes"
    split: Split | None = None
    wavelengths: tuple[float, ...] | None = None
    source_wavelengths: dict[str, BandRange | tuple[float, ...]] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    crop: int = 128
    flips: bool = True
    transposes: bool = True
    gain: float = 0.0
    spectral_gain: float = 0.0
    no_data: int | None = None
    scale: float | None = None
    remove_mean_spectrum: bool = False

    def __post_init__(self) -> None:
        refuse(self._impossible_values() + self._unused_keys())

    def excludes(self, relative: str) -> bool:
        """Whether the file at this path below its folder is never read."""
        return matches(relative, self.exclude)

    def measures(self, relative: str) -> bool:
        """Whether the scene at this path below its folder is only measured."""
        return matches(relative, self.validation)

    def _impossible_values(self) -> list[str]:
        problems = []
        if self.crop < 1:
            problems.append(f"crop is {self.crop}; it must be at least 1 pixel")
        problems += [
            f"{name} is {getattr(self, name)}; it must lie in 0..2"
            for name in ("gain", "spectral_gain")
            if not 0 <= getattr(self, name) <= 2
        ]
        if self.scale is not None and self.scale <= 0:
            problems.append(f"scale is {self.scale}; it must be positive")
        if self.split is not None and self.split not in _SPLITS[self.dataset]:
            known = " or ".join(_SPLITS[self.dataset]) or "only validation patterns"
            problems.append(f"split is {self.split}; {self.dataset} has {known}")
        return problems

    def _unused_keys(self) -> list[str]:
        """A key that its data set would ignore is a mistake, not a wish."""
        unused: dict[str, str] = {}
        if self.dataset == "scenes":
            unused["scale"] = "scenes hold digital numbers"
        else:
            unused["validation"] = "the data set has its own split; name it with split"
            unused["source_wavelengths"] = "patches are not resampled"
        if self.dataset == "hyspecnet-11k":
            unused["no_data"] = "its preprocessing leaves zeros where there is no data"
        return [
            f"{name} has no use with dataset {self.dataset}: {why}"
            for name, why in unused.items()
            if getattr(self, name) not in (None, (), {})
        ]


def matches(relative: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns is of the scene at this path below its folder: of the path, the file or its stem."""
    file = PurePosixPath(relative)
    return any(fnmatch(path, pattern) for pattern in patterns for path in (relative, file.name, file.stem))


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimisationConfig:
    """How the weights are found (seed paper section IV-B).

    Attributes:
        lmbda: λ of eq. 2, bits per sample against squared digital numbers. A list, rising, trains one model of
            as many rate levels (model.rates).
        steps: gradient steps; 0 measures and converts what `train-model --weights` gives.
        epochs: times that training sees what there is, in place of steps; the run's own configuration names steps.
        batch_size: crops a step, over all processes.
        precision: "32-true", or "bf16-mixed": transforms in bfloat16, entropy model and weights in float32.
        learning_rate: of encoder and decoder, at the first step; a cosine takes it to zero.
        hyperprior_learning_rate: of the hyper-transforms, the factorised prior and the gains.
        aux_learning_rate: of the prior's quantiles (the auxiliary optimiser).
        gradient_clip: bound of the gradient's norm.
        klt_step: quantiser step in digital numbers of the linear codec that training starts from; with several λ
            that of their geometric mean.
        integer_path_steps: how many of the last steps feel the rounding of the exported entropy path.
        seed: of initialisation, crops and quantisation noise.
        checkpoint_every: steps between checkpoints and validations.
        state_every: steps between states to resume from: what a kill can lose. A state is three times the
            weights' size; a large model wants hundreds.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    lmbda: float | tuple[float, ...]
    steps: int = 0
    epochs: int = 0
    batch_size: int = 16
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    learning_rate: float = 1e-4
    hyperprior_learning_rate: float = 1e-4
    aux_learning_rate: float = 1e-3
    gradient_clip: float = 1.0
    klt_step: float = 100.0
    integer_path_steps: int = 0
    seed: int = 0
    checkpoint_every: int = 500
    state_every: int = 1

    @property
    def lmbdas(self) -> tuple[float, ...]:
        """λ of every rate level."""
        return self.lmbda if isinstance(self.lmbda, tuple) else (self.lmbda,)

    def __post_init__(self) -> None:
        problems = []
        if not self.lmbdas or min(self.lmbdas) <= 0 or list(self.lmbdas) != sorted(set(self.lmbdas)):
            problems.append(f"lmbda is {self.lmbda}; it must be positive, and a list must rise")
        if min(self.steps, self.epochs) < 0 or (self.steps and self.epochs):
            problems.append(f"steps is {self.steps} and epochs {self.epochs}; one of them may be positive")
        problems += [
            f"{name} is {getattr(self, name)}; it must be positive"
            for name in (
                "batch_size",
                "learning_rate",
                "hyperprior_learning_rate",
                "aux_learning_rate",
                "gradient_clip",
                "klt_step",
                "checkpoint_every",
                "state_every",
            )
            if getattr(self, name) <= 0
        ]
        if self.integer_path_steps < 0 or (not self.epochs and self.integer_path_steps > self.steps):
            problems.append(f"integer_path_steps is {self.integer_path_steps}; it must lie in 0..steps")
        if not 0 <= self.seed < 2**63:
            problems.append(f"seed is {self.seed}; it must lie in 0..2^63 - 1")
        refuse(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """One training run: model, data, optimisation."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    model: AnyModelConfig
    optimisation: OptimisationConfig
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        problems = []
        wavelengths = self.data.wavelengths
        if wavelengths is not None and len(wavelengths) != self.model.bands:
            problems.append(f"data.wavelengths names {len(wavelengths)} bands, model.bands is {self.model.bands}")
        if len(self.optimisation.lmbdas) != self.model.rates:
            problems.append(
                f"optimisation.lmbda names {len(self.optimisation.lmbdas)} values, model.rates is {self.model.rates}; "
                "each rate level has its own λ"
            )
        if self.data.crop % self.model.cell:
            problems.append(
                f"data.crop is {self.data.crop}; with {self.model.spatial_stages} spatial stages it must be "
                f"a multiple of {self.model.cell}"
            )
        refuse(problems)


def in_steps(config: TrainingConfig, crops_per_epoch: int) -> TrainingConfig:
    """The run with its epochs told in steps; a batch may end an epoch and begin the next."""
    optimisation = config.optimisation
    if not optimisation.epochs:
        return config
    steps = -(-optimisation.epochs * crops_per_epoch // optimisation.batch_size)
    return replace(config, optimisation=replace(optimisation, steps=steps, epochs=0))


class ConfigError(ValueError):
    """A configuration file cannot be used; the message lists every problem in it."""


def config_from_json(document: object) -> TrainingConfig:
    """Validate a parsed document; every problem is in the one ConfigError."""
    return validated(document, TrainingConfig)


T = TypeVar("T")


def validated(document: object, kind: type[T]) -> T:
    """A parsed document as the dataclass `kind`, of sections that are dataclasses; likewise."""
    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        raise ConfigError("; ".join(_problems(document, error, adapter))) from error


def _problems(document: object, error: ValidationError, adapter: TypeAdapter[Any]) -> list[str]:
    """Every problem of a document.

    Pydantic builds a section, and so compares its values, only when each of its keys is right by itself. So what is
    wrong by itself is taken out, and the rest is looked at once more.
    """
    problems = _texts(error)
    remaining = copy.deepcopy(document)
    for entry in error.errors():
        match _location(entry):
            case (section, key, *_) if isinstance(remaining, dict) and isinstance(remaining.get(section), dict):
                remaining[section].pop(key, None)
    if remaining != document:
        try:
            adapter.validate_python(remaining)
        except ValidationError as rest:
            # What is missing now was named before, or taken out.
            problems += [text for text in _texts(rest, but="missing") if text not in problems]
    return problems


def _texts(error: ValidationError, but: str = "") -> list[str]:
    return [
        f"{'.'.join(map(str, _location(entry))) or 'config'}: {entry['msg'].removeprefix('Value error, ')}"
        for entry in error.errors()
        if entry["type"] != but
    ]


def _location(entry: ErrorDetails) -> tuple[int | str, ...]:
    """Keys of a document that lead to a problem, without the family that pydantic puts after `model`."""
    match entry["loc"]:
        case ("model", "hyvic" | "joint", *keys):
            return ("model", *keys)
    return entry["loc"]
