"""Results of `evaluate-model` in place of a run's own validation: its evaluation.csv, a row a patch and rate point.

A run is found by the SHA-256 of its weights, so a run that was trained on after its evaluation is not mistaken for it.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from hyvic_compare.errors import RunError, invalid_entries
from hyvic_compare.rate_point import PositiveFinite, RatePoint, SceneMeasure

ROWS, WEIGHTS = "evaluation.csv", "model.safetensors"
ESTIMATE = "estimate"
"""Kind of the rows of a run; bundles have `stream`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    sha256: str
    lmbda: PositiveFinite
    quality: FiniteFloat
    patch: str
    rate_bpppc: PositiveFinite
    psnr_db: FiniteFloat
    ssim_gaussian: FiniteFloat
    spectral_angle_deg: FiniteFloat


class Evaluation:
    """Table of `evaluate-model`.

    Attributes:
        path: path of the table.
    """

    def __init__(self, folder: Path) -> None:
        """Read a table.

        Args:
            folder: folder that evaluate-model wrote.

        Raises:
            RunError: the table cannot be read.
        """
        self.path = folder / ROWS
        self._points = _read_points(self.path)

    def points_of(self, run: Path) -> tuple[RatePoint, ...]:
        """Return the rate points of a run.

        Raises:
            RunError: the weights of the run cannot be read, or are not in the table.
        """
        weights = run / WEIGHTS
        try:
            with weights.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise RunError(
                [f"{weights} is not readable, and {self.path} knows a run by its weights ({error})"]
            ) from error
        if digest not in self._points:
            raise RunError([f"{self.path} has no row of {weights} as it is now; evaluate this run again"])
        return self._points[digest]


def _read_points(path: Path) -> dict[str, tuple[RatePoint, ...]]:
    """Return the rate points of every run by the SHA-256 of its weights."""
    scenes: dict[str, dict[tuple[float, float], dict[str, SceneMeasure]]] = {}
    adapter = TypeAdapter(_Row)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if "kind" not in (reader.fieldnames or ()):
                raise RunError([f"{path} is not a table of evaluate-model"])
            for cells in reader:
                if cells["kind"] != ESTIMATE:
                    continue
                try:
                    row = adapter.validate_python(cells)
                except ValidationError as error:
                    problems = "; ".join(invalid_entries(error))
                    raise RunError([f"{path}, line {reader.line_num}: {problems}"]) from error
                scenes.setdefault(row.sha256, {}).setdefault((row.lmbda, row.quality), {})[row.patch] = SceneMeasure(
                    rate_bpppb=row.rate_bpppc,
                    psnr_db=row.psnr_db,
                    ssim=row.ssim_gaussian,
                    spectral_angle_deg=row.spectral_angle_deg,
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError([f"{path} is not readable ({error}); evaluate-model writes it"]) from error
    return {
        digest: tuple(RatePoint(lmbda=lmbda, quality=quality, scenes=own) for (lmbda, quality), own in points.items())
        for digest, points in scenes.items()
    }
