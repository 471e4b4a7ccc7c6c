"""The golden vectors of tests/golden/ccsds123; its README says where they come from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ccsds123.header import Header
from ccsds123.parameter_files import header_from_json
from ccsds123.raw_image import cube_from_raw

FOLDER = Path(__file__).parents[1] / "golden" / "ccsds123"


@dataclass(frozen=True)
class Vector:
    name: str
    facts: dict[str, Any]

    @property
    def header(self) -> Header:
        return header_from_json({key: self.facts[key] for key in ("image", "parameters")} | {"note": self.name})

    @property
    def image(self) -> Path:
        return FOLDER / "images" / self.facts["image"]["file"]

    @property
    def cube(self) -> np.ndarray:
        return cube_from_raw(self.image.read_bytes(), self.header.shape, self.header.parameters)

    @property
    def stream(self) -> Path:
        return FOLDER / "vectors" / f"{self.name}.c123"


VECTORS = [Vector(facts["name"], facts) for facts in json.loads((FOLDER / "vectors.json").read_text())]


def vector(name: str) -> Vector:
    return next(v for v in VECTORS if v.name == name)
