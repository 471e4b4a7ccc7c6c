"""Settings that runs of every family share, and the validation of documents.

Pydantic validates: it reports every wrong key and every impossible value of a file at once.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

WITHOUT_EFFECT = frozenset({"data.workers"})
"""Keys that change no result: a resumed run may have other values."""

DEFAULT_FAMILY = "hyvic"
"""Family of documents that name none: they are older than the second family."""

Dataset = Literal["scenes", "hyspecnet-11k", "mlretset"]
Split = Literal["easy", "hard", "random"]
_SPLITS: dict[Dataset, tuple[Split, ...]] = {
    "scenes": (),
    "hyspecnet-11k": ("easy", "hard"),
    "mlretset": ("random",),
}


class ConfigError(ValueError):
    """A configuration file cannot be used; the message lists every problem in it."""


class ModelConfig(Protocol):
    """Section `model` of a run of any family."""

    @property
    def family(self) -> str:
        """Name of the family in the registry."""
        ...

    @property
    def bands(self) -> int | None:
        """Number of bands of every scene; None: any number."""
        ...

    @property
    def cell(self) -> int:
        """Smallest number of lines and of samples of a measured scene, in pixels."""
        ...


class Optimisation(Protocol):
    """Settings that the training loop reads in the section `optimisation` of any family."""

    @property
    def steps(self) -> int: ...
    @property
    def gradient_clip(self) -> float | None: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def state_every(self) -> int: ...


class RunConfig(Protocol):
    """Configuration of a run of any family; the model's `family` chooses the family."""

    @property
    def model(self) -> ModelConfig: ...
    @property
    def optimisation(self) -> Optimisation: ...
    @property
    def data(self) -> DataConfig: ...


class Section:
    """Base of a configuration and of its sections: no key but the fields, no infinity."""

    __slots__ = ()
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)


def outside(config: object, least: float, most: float, *names: str) -> list[str]:
    """Name the fields that lie outside `least` … `most`."""
    values = {name: getattr(config, name) for name in names}
    return [f"{n} is {v}; it must lie in {least}..{most}" for n, v in values.items() if not least <= v <= most]


def not_positive(config: object, *names: str) -> list[str]:
    """Name the fields that are not positive."""
    values = {name: getattr(config, name) for name in names}
    return [f"{n} is {v}; it must be positive" for n, v in values.items() if v <= 0]


def refuse(problems: list[str]) -> None:
    """Raise ValueError with all problems, if there are any."""
    if problems:
        raise ValueError("; ".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class BandRange(Section):
    """Band centres spread evenly from `start` to `stop`, in nm."""

    start: float
    stop: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig(Section):
    """Choice of the data set, of its band grid, and of what is done to its crops.

    Attributes:
        dataset: kind of data under `--data`. `scenes`: files and folders of scenes in any format of the runtime.
            `hyspecnet-11k` and `mlretset`: the folder of that public data set as published.
        split: one of the data set's own splits. HySpecNet-11k publishes `easy` (patches of one tile in several
            sets; the paper's choice and the default) and `hard` (all patches of a tile in one set). MLRetSet publishes
            none: its folder must hold splits/train.csv and splits/val.csv. With `random`, a hash of the file names
            chooses 70 % of the patches for training and 20 % for validation.
        wavelengths: band centres of the model in nm. Scenes with known band centres are resampled to them. Patches
            are never resampled: for patches the list only records the bands.
        source_wavelengths: file-name pattern -> band centres, for scene files without any.
            A YAML file may name a JSON file in place of either list; it is read with the configuration.
        exclude: patterns of files never read, neither to train nor to validate. A pattern is matched against the
            file's name, with and without its extension, and against its path below the named folder.
        validation: patterns of the scenes that are only measured; each matches at least one scene. The split is by
            scene.
        crop: side of the square that training cuts, in pixels.
        flips: whether a crop is mirrored along lines, samples, both or neither, each equally often.
        transposes: whether lines and samples change places in half of the crops. With `flips` this gives all eight
            positions of a square.
        gain: standard deviation of the logarithm of the random factor that multiplies a whole crop: brighter
            and darker illumination. 0 leaves digital numbers unchanged.
        spectral_gain: standard deviation of the random log gain curve that multiplies a crop's spectra. The curve
            simulates other illuminations, atmospheres and calibrations. 0 leaves spectra unchanged.
        no_data: stored value that marks a pixel without data. It replaces the value that a scene's file names
            (such as GeoTIFF's nodata and ENVI's `data ignore value`). No crop and no measurement contains such a pixel.
        scale: digital numbers per stored unit of patches in floating point; 10,000 by default, since
            reflectances are stored from 0 to 1. Integers are digital numbers already.
        remove_mean_spectrum: whether the model codes the difference from the scene's mean spectrum. The stream then
            carries the mean (two octets a band and scene). The paper's models see the digital numbers themselves.
            With a handful of training scenes, the unknown mean of a new sensor costs most.
        workers: number of threads that cut the crops of coming steps while a step computes; 0 cuts them between the
            steps. Memory holds up to twice as many batches. No result depends on it. Threads share the scenes in
            memory and copy no batch from process to process (tests/benchmarks/bench_training.py --waiting).
    """

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
    workers: int = 4

    def __post_init__(self) -> None:
        problems = not_positive(self, "crop") + outside(self, 0, 2, "gain", "spectral_gain")
        problems += outside(self, 0, 64, "workers")
        if self.scale is not None:
            problems += not_positive(self, "scale")
        if self.split is not None and self.split not in _SPLITS[self.dataset]:
            known = " or ".join(_SPLITS[self.dataset]) or "only validation patterns"
            problems.append(f"split is {self.split}; {self.dataset} has {known}")
        refuse(problems + self._unused_keys())

    def excludes(self, relative: str) -> bool:
        """Whether the file at this path below its folder is never read."""
        return matches(relative, self.exclude)

    def measures(self, relative: str) -> bool:
        """Whether the scene at this path below its folder is only measured."""
        return matches(relative, self.validation)

    def _unused_keys(self) -> list[str]:
        """Name the keys that the data set would ignore: such a key is a mistake, not a wish."""
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
    """Whether a pattern matches a scene: its path below its folder, its file name or its stem."""
    file = PurePosixPath(relative)
    return any(fnmatch(path, pattern) for pattern in patterns for path in (relative, file.name, file.stem))


def family_of(document: object) -> str:
    """Return the family that a document's `model` section names."""
    model = document.get("model") if isinstance(document, Mapping) else None
    return str(model.get("family", DEFAULT_FAMILY)) if isinstance(model, Mapping) else DEFAULT_FAMILY


def json_from_config(config: RunConfig) -> dict[str, Any]:
    """Return the JSON document of a configuration; `registry.run_config_from_json` reads it back."""
    document: dict[str, Any] = json.loads(_adapter(type(config)).dump_json(config))
    return document


T = TypeVar("T")


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}
"""Pydantic's readers of dataclasses, made once: a sweep validates hundreds of configurations."""


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def validated(document: object, kind: type[T]) -> T:
    """Return a parsed document as `kind`, a dataclass whose sections are dataclasses.

    Raises:
        ConfigError: every problem of the document.
    """
    adapter = _adapter(kind)
    try:
        result: T = adapter.validate_python(document)
    except ValidationError as error:
        raise ConfigError("; ".join(_problems(document, error, adapter))) from error
    return result


def _problems(document: object, error: ValidationError, adapter: TypeAdapter[Any]) -> list[str]:
    """List every problem of a document.

    Pydantic builds a section, and so compares its values, only when each key is right by itself. So keys that are
    wrong by themselves are taken out, and the rest is validated once more.
    """
    family = family_of(document)
    problems = _texts(error, family)
    remaining = copy.deepcopy(document)
    for entry in error.errors():
        match _location(entry, family):
            case (section, key, *_) if isinstance(remaining, dict) and isinstance(remaining.get(section), dict):
                remaining[section].pop(key, None)
    if remaining != document:
        try:
            adapter.validate_python(remaining)
        except ValidationError as rest:
            # Keys that are missing now were named before, or taken out.
            problems += [text for text in _texts(rest, family, but="missing") if text not in problems]
    return problems


def _texts(error: ValidationError, family: str, but: str = "") -> list[str]:
    return [
        f"{'.'.join(map(str, _location(entry, family))) or 'config'}: {entry['msg'].removeprefix('Value error, ')}"
        for entry in error.errors()
        if entry["type"] != but
    ]


def _location(entry: ErrorDetails, family: str) -> tuple[int | str, ...]:
    """Return the keys of a document that lead to a problem, without the family that pydantic puts after `model`."""
    match entry["loc"]:
        case ("model", tag, *keys) if tag == family:
            return ("model", *keys)
    return entry["loc"]
