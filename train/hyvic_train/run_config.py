"""The configuration of a run of any family: which family it is stands in its `model` section."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from hyvic_train.config import TrainingConfig, config_from_json, validated
from hyvic_train.families.adaptive.config import AdaptiveTrainingConfig
from hyvic_train.families.latent.model_config import family_of

RunConfig = TrainingConfig | AdaptiveTrainingConfig


def run_config_from_json(document: object) -> RunConfig:
    """Validate a parsed document; every problem is in the one ConfigError."""
    if isinstance(document, Mapping) and family_of(document.get("model")) == "adaptive":
        return validated(document, AdaptiveTrainingConfig)
    return config_from_json(document)


def json_from_config(config: RunConfig) -> dict[str, Any]:
    """The JSON document that `run_config_from_json` reads back."""
    document: dict[str, Any] = json.loads(TypeAdapter(type(config)).dump_json(config))
    return document
