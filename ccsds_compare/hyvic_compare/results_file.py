"""Results of an earlier `compare-codecs`, read from the `comparison.json` of its report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AliasPath, Field, TypeAdapter, ValidationError

from hyvic_compare.errors import ResultsFileError, invalid_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPoint:
    """Result of a codec on a scene.

    Attributes:
        codec: name of the codec.
        target_ratio: ratio that was asked for.
        compression_ratio: ratio of its stream.
        psnr_db: PSNR of the decoded scene; inf if every sample is exact.
    """

    codec: str
    target_ratio: float
    compression_ratio: float
    psnr_db: Annotated[float, Field(validation_alias=AliasPath("fidelity", "psnr_db"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedScene:
    """Scene as all codecs coded it.

    Attributes:
        name: name of its file.
        sensor: name of its sensor, or None if unknown.
        shape: lines, samples, bands.
        wavelengths: band centres in nm that it has or was interpolated to, or None if unknown.
        peak: largest digital number, for PSNR.
        points: results of codecs that have a target, without gaps.
    """

    name: str
    sensor: str | None
    shape: tuple[int, int, int]
    wavelengths: tuple[float, ...] | None
    peak: float
    points: tuple[RecordedPoint, ...]

    def best(self, codecs: Sequence[str]) -> dict[float, RecordedPoint]:
        """Return, by target, the point with the highest PSNR of some codecs."""
        best: dict[float, RecordedPoint] = {}
        for point in self.points:
            if point.codec in codecs and (
                point.target_ratio not in best or point.psnr_db > best[point.target_ratio].psnr_db
            ):
                best[point.target_ratio] = point
        return dict(sorted(best.items()))


def read_results(path: Path) -> Mapping[str, RecordedScene]:
    """Read the scenes of a comparison, by name.

    Raises:
        ResultsFileError: the file is not a `comparison.json`.
    """
    try:
        document = json.loads(path.read_bytes())
        points: dict[str, list[object]] = {scene["name"]: [] for scene in document["scenes"]}
        for point in document["measurements"]:
            if point["target_ratio"] is not None and point["gap"] is None:
                points[point["scene"]].append(point)
        scenes = [{**scene, "points": points[scene["name"]]} for scene in document["scenes"]]
        return {scene.name: scene for scene in TypeAdapter(list[RecordedScene]).validate_python(scenes)}
    except OSError as error:
        raise ResultsFileError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = "; ".join(invalid_entries(error)) if isinstance(error, ValidationError) else error
        raise ResultsFileError(f"{path} is not a comparison.json of compare-codecs ({reason})") from error
