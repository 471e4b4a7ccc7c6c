"""Facts about scenes that their files do not hold.

Archives often keep the sensor and the band centres apart from the cube. A JSON file gives them by the scenes' names,
and scenes that a model was trained on. What the list in a bundle says of a scene counts too; see `training_part`:

    {"scenes": {"aviris_*": {"sensor": "AVIRIS", "wavelengths": {"start": 400, "stop": 2500}},
                "enmap_*": {"sensor": "EnMAP", "wavelengths": [418.24, 423.874, …], "no_data": -32768}},
     "seen": {"hyvic*": ["aviris_abu_airport_*"]}}

A name may match several patterns; the last one counts for each fact. A scene's own file counts before all patterns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hyvic_runtime.errors import SceneError


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFacts:
    """Facts for one pattern of names.

    Attributes:
        sensor: name of the sensor, or None.
        wavelengths: band centres in nm, or None.
        spread: first and last centre of evenly spaced bands, or None.
        no_data: value of samples that hold no measurement, or None.
    """

    sensor: str | None = None
    wavelengths: tuple[float, ...] | None = None
    spread: tuple[float, float] | None = None
    no_data: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """File of facts.

    >>> facts = Facts(seen={"hyvic*": ("aviris_*",)})
    >>> facts.saw("hyvic-s-202", "aviris_1"), facts.saw("hyvic-s-202", "enmap_1")
    (True, False)

    Attributes:
        scenes: facts by pattern of scenes' names.
        seen: pattern of codecs' names, to patterns of the scenes that the codec was trained on.
    """

    scenes: Mapping[str, SceneFacts] = field(default_factory=dict)
    seen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of_scene(self, name: str) -> SceneFacts:
        """Return all facts about a scene."""
        sensor, wavelengths, spread, no_data = None, None, None, None
        for pattern, facts in self.scenes.items():
            if fnmatchcase(name, pattern):
                sensor = facts.sensor or sensor
                no_data = no_data if facts.no_data is None else facts.no_data
                if facts.wavelengths or facts.spread:
                    wavelengths, spread = facts.wavelengths, facts.spread
        return SceneFacts(sensor=sensor, wavelengths=wavelengths, spread=spread, no_data=no_data)

    def saw(self, codec: str, scene: str) -> bool:
        """Return whether this file says that a codec was trained on a scene."""
        return any(fnmatchcase(scene, pattern) for pattern in self.seen_by(codec))

    def seen_by(self, codec: str) -> tuple[str, ...]:
        """Return the patterns of the scenes that a codec was trained on; empty if this file says nothing about it.

        A bundle that is called by its parent's name too is known by its own.
        """
        own = codec.rpartition("/")[2]
        return tuple(
            pattern
            for name, patterns in self.seen.items()
            if fnmatchcase(codec, name) or fnmatchcase(own, name)
            for pattern in patterns
        )


def read_facts(path: Path) -> Facts:
    """Read a file of facts.

    Raises:
        SceneError: the file cannot be read, or is not a file of facts.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if unknown := document.keys() - {"scenes", "seen"}:
            raise ValueError(f"'{min(unknown)}' is neither 'scenes' nor 'seen'")
        return Facts(
            scenes={pattern: _facts(body) for pattern, body in document.get("scenes", {}).items()},
            seen={codec: _patterns(codec, patterns) for codec, patterns in document.get("seen", {}).items()},
        )
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SceneError(f"{path}: not a file of facts ({' '.join(str(error).split())})") from error


def _patterns(codec: str, patterns: Any) -> tuple[str, ...]:
    # The letters of a lone name would be patterns too, and its '*' would match every scene.
    if not isinstance(patterns, list):
        raise ValueError(f"'seen' of '{codec}' is not a list")
    return tuple(map(str, patterns))


def _facts(body: dict[str, Any]) -> SceneFacts:
    if unknown := body.keys() - {"sensor", "wavelengths", "no_data"}:
        raise ValueError(f"'{min(unknown)}' is not sensor, wavelengths or no_data")
    centres = body.get("wavelengths")
    if not isinstance(centres, list | dict | None):
        raise ValueError("wavelengths must be a list of centres, or start and stop")
    spread = (float(centres["start"]), float(centres["stop"])) if isinstance(centres, dict) else None
    return SceneFacts(
        sensor=body.get("sensor"),
        wavelengths=tuple(map(float, centres)) if isinstance(centres, list) else None,
        spread=spread,
        no_data=None if body.get("no_data") is None else int(body["no_data"]),
    )
