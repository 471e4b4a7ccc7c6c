"""Names and content hashes of the scenes or patches that a training read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hyvic_runtime.codec.seen_scenes import HASH_DIGITS, SeenScenes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Scenes that weights come from.

    Attributes:
        training: name of each scene or patch to train on, by its content hash (64 hexadecimal digits).
        validation: the same of each to measure during training; they choose the weights in `best/`.
        complete: False if the weights began as others whose scenes nobody knows.
    """

    training: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True

    def joined(self, other: TrainingData) -> TrainingData:
        """Return the scenes of both, complete if both are."""
        return TrainingData(
            training={**self.training, **other.training},
            validation={**self.validation, **other.validation},
            complete=self.complete and other.complete,
        )

    @property
    def seen_scenes(self) -> SeenScenes:
        """List to look a scene up in."""
        training, validation = (
            frozenset(sha256[:HASH_DIGITS] for sha256 in part) for part in (self.training, self.validation)
        )
        return SeenScenes(training=training, validation=validation, complete=self.complete)

    def document(self) -> dict[str, Any]:
        """Return the document of a checkpoint, in the order of the names."""
        parts = {part: dict(sorted(getattr(self, part).items(), key=lambda item: item[1])) for part in _PARTS}
        return {**asdict(self), **parts}


UNKNOWN = TrainingData(complete=False)
"""Data of weights that nothing is known about."""
_PARTS = ("training", "validation")


def training_data_from_json(document: Any) -> TrainingData:
    """Validate a document of `TrainingData`.

    Raises:
        ValueError: an entry is missing, unknown or invalid.
    """
    if not isinstance(document, dict) or document.keys() != {*_PARTS, "complete"}:
        raise ValueError(f"{', '.join(_PARTS)} and complete are needed, and nothing else")
    if type(document["complete"]) is not bool:
        raise ValueError(f"complete is {document['complete']!r}; true or false is needed")
    for part in _PARTS:
        entries = document[part]
        if not isinstance(entries, dict) or not all(type(name) is str for name in entries.values()):
            raise ValueError(f"{part} must hold names by their content hashes")
        for sha256 in entries:
            if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
                raise ValueError(f"{part} has {sha256!r}, which is no content hash of 64 hexadecimal digits")
    return TrainingData(**document)
