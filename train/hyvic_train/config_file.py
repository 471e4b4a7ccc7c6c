"""Configuration files: YAML of one run or a sweep of several, perhaps over another file's values.

base: hyvic-s-202.yaml            another file, whose values hold where this one has none
model: {kernel_size: 5}           sections of the family's configuration
sweep:                            axes, and the variants of each: a run for every combination
stages: [{model.spatial_stages: 1}, {model.spatial_stages: 2}]
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from hyvic_train.config import ConfigError, RunConfig
from hyvic_train.families.registry import run_config_from_json

MAX_BASES = 8


def read_sweep(path: Path, overrides: Sequence[str] = ()) -> dict[str, RunConfig]:
    """Read a YAML configuration of one run or several.

    Beside the sections, `base` may name another configuration file, whose values hold where this one has none; and
    `sweep` may name axes, and each axis its variants, as mappings of `section.key` to value. There is a run for
    every combination, in the axes' order; overrides are applied last.

    Returns:
        The runs by name, such as `spatial_stages=2,lmbda=0.0001`; without a sweep one run of name "".

    Raises:
        ConfigError: unreadable file, unknown key, impossible value: all of them in one message.
    """
    document = _document(path, depth=0)
    axes = _axes(document.pop("sweep", {}), path)
    runs: dict[str, RunConfig] = {}
    problems: list[str] = []
    for variants in itertools.product(*axes):
        assignments = {key: value for variant in variants for key, value in variant.items()}
        name = ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in assignments.items()).replace("/", "_")
        if name in runs:
            problems.append(f"{path}: two combinations of the sweep are called {name}; let no two axes set one key")
        run = copy.deepcopy(document)
        try:
            for key, value in assignments.items():
                _assign(run, key, value)
            for override in overrides:
                _apply(run, override)
            _read_wavelengths(run, path.parent)
            runs[name] = run_config_from_json(run)
        except ConfigError as error:
            problems.append(f"{name}: {error}" if name else str(error))
    if problems:
        raise ConfigError("; ".join(problems))
    return runs


def _axes(sweep: object, path: Path) -> list[list[dict[str, Any]]]:
    axes: list[Any] = list(sweep.values()) if isinstance(sweep, dict) else [None]
    for axis in axes:
        variants = axis if isinstance(axis, list) else []
        named = [isinstance(variant, dict) and all(type(key) is str for key in variant) for variant in variants]
        if not named or not all(named):
            raise ConfigError(f"{path}: sweep names axes, and each a list of variants such as {{model.kernel_size: 5}}")
    return axes


def _document(path: Path, *, depth: int) -> dict[str, Any]:
    """Read a file's mapping over its base's, with the contents of JSON files in place of their names."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is not a mapping of model, data and optimisation")
    base = document.pop("base", None)
    _read_wavelengths(document, path.parent)
    if base is None:
        return document
    if not isinstance(base, str) or depth >= MAX_BASES:
        raise ConfigError(f"{path}: base names one file, and at most {MAX_BASES} in a chain")
    return _merged(_document(path.parent / base, depth=depth + 1), document)


def _merged(base: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    merged = base | document
    for key in base.keys() & document.keys() - {"sweep"}:
        if isinstance(base[key], dict) and isinstance(document[key], dict):
            merged[key] = _merged(base[key], document[key])
    return merged


def _read_wavelengths(document: dict[str, Any], folder: Path) -> None:
    data = document.get("data")
    if isinstance(data, dict):
        sources = data.get("source_wavelengths")
        if isinstance(data.get("wavelengths"), str):
            data["wavelengths"] = _read_json(folder / data["wavelengths"])
        if isinstance(sources, dict):
            for pattern, source in sources.items():
                if isinstance(source, str):
                    sources[pattern] = _read_json(folder / source)


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a readable JSON list of wavelengths ({error})") from error


def _apply(document: dict[str, Any], override: str) -> None:
    keys, separator, value = override.partition("=")
    if not separator:
        raise ConfigError(f"--set {override}: write KEY=VALUE, such as optimisation.steps=1000")
    try:
        _assign(document, keys, _number_or_yaml(value))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"--set {override}: {' '.join(str(error).split())}") from error


def _assign(document: dict[str, Any], keys: str, value: object) -> None:
    *sections, last = keys.split(".")
    node = document
    for section in sections:
        node = node.setdefault(section, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{section} is a value, not a section")
    node[last] = value


def _number_or_yaml(value: str) -> object:
    """Read a value as YAML, but 1e-4 is a number too; YAML 1.1 wants 1.0e-4."""
    try:
        return float(value) if "e" in value.lower() else yaml.safe_load(value)
    except ValueError:
        return yaml.safe_load(value)
