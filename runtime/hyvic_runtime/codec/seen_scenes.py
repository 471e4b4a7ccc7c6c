"""Scenes that a model was made with, by the hashes of their pixels: was it trained on this scene?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.codec.bundle_files import REPORT
from hyvic_runtime.errors import BundleError

ENTRY = "training_data"
"""Name of the list in the report of a bundle."""
HASH_DIGITS = 16
"""Hexadecimal digits that a bundle keeps of a hash. Of ten thousand training scenes and another scene, two share them
once in 10¹⁵ times."""


class Seen(StrEnum):
    """Part that a scene had in the making of a model."""

    TRAINED = "seen"
    """The model was trained on it."""
    MEASURED = "validation"
    """It was measured during training and may have chosen the weights; no gradient came from it."""
    NO = "not seen"
    """No scene with these pixels was read. A crop or another version of a training scene is not found."""
    UNKNOWN = "unknown"
    """It is not on the list, and the list is missing or incomplete."""

    @property
    def sentence(self) -> str:
        """Answer for people, about one scene."""
        return _SENTENCES[self]


_SENTENCES = {
    Seen.TRAINED: "the model was trained on it",
    Seen.MEASURED: "the model was measured on it during training, and not trained on it",
    Seen.NO: "the model was not trained on these pixels",
    Seen.UNKNOWN: "unknown whether the model was trained on it; no complete list of its scenes is there",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenScenes:
    """List of the scenes that a model was made with.

    >>> scenes = SeenScenes(training=frozenset({"00" * 8}), complete=True)
    >>> str(scenes.answer("00" * 32)), str(scenes.answer("ff" * 32)), str(SeenScenes().answer("00" * 32))
    ('seen', 'not seen', 'unknown')

    Attributes:
        training: first HASH_DIGITS digits of the content hash of each scene to train on.
        validation: the same of each scene to measure during training.
        complete: False if the weights, or those that they began as, may come from other scenes too.
    """

    training: frozenset[str] = frozenset()
    validation: frozenset[str] = frozenset()
    complete: bool = False

    def answer(self, sha256: str) -> Seen:
        """Return the part of a scene with this content hash; see `content_sha256`."""
        short = sha256[:HASH_DIGITS]
        if short in self.training:
            return Seen.TRAINED
        if not self.complete:
            return Seen.UNKNOWN
        return Seen.MEASURED if short in self.validation else Seen.NO

    def document(self) -> dict[str, Any]:
        """Return the entry of a bundle's report."""
        return {
            "complete": self.complete,
            "training": sorted(self.training),
            "validation": sorted(self.validation),
        }


def seen_scenes_of(bundle: Bundle) -> SeenScenes:
    """Return the list in a bundle's report; incomplete and empty where the bundle has none.

    Raises:
        BundleError: the list cannot be read.
    """
    if REPORT not in bundle.manifest.extras:
        return SeenScenes()
    path = bundle.folder / REPORT
    try:
        entry = json.loads(path.read_bytes()).get(ENTRY)
        return SeenScenes() if entry is None else _parsed(entry)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(f"{path}: {ENTRY} cannot be read ({error}); export the bundle again") from error


def _parsed(entry: Mapping[str, Any]) -> SeenScenes:
    if type(entry["complete"]) is not bool:
        raise ValueError(f"complete is {entry['complete']!r}")
    parts: list[frozenset[str]] = []
    for name in ("training", "validation"):
        if not all(type(digits) is str and len(digits) == HASH_DIGITS for digits in entry[name]):
            raise ValueError(f"{name} is not a list of {HASH_DIGITS} hexadecimal digits each")
        parts.append(frozenset(entry[name]))
    return SeenScenes(training=parts[0], validation=parts[1], complete=entry["complete"])
