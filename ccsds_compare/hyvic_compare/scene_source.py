"""Scenes as all codecs of a comparison get them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene.content_hash import content_sha256
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import Scene, resample_bands

from hyvic_compare.scene_facts import SceneFacts

_SAME_CENTRE_NM = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedScene:
    """Scene, ready to be coded.

    Attributes:
        scene: the scene with all facts about it.
        content_sha256: hash of its pixels as its file holds them, before any change.
        prepared: sentence that says how it was changed, or None if it was not.
    """

    scene: Scene
    content_sha256: str
    prepared: str | None

    def digest(self) -> str:
        """Return the SHA-256 of everything that a codec or a measure reads."""
        scene = self.scene
        facts = (scene.cube.shape, scene.cube.dtype.str, scene.no_data, scene.georeference)
        digest = hashlib.sha256(repr(facts).encode())
        if scene.wavelengths is not None:
            digest.update(scene.wavelengths.tobytes())
        for line in scene.cube:
            digest.update(line.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSource:
    """Source of a scene, and how to prepare it.

    Attributes:
        path: path of its file.
        facts: facts that the file may lack.
        bands: centres in nm that it is interpolated to if possible, or None to leave it as it is.
    """

    path: Path
    facts: SceneFacts
    bands: tuple[float, ...] | None = None

    @property
    def name(self) -> str:
        """Name of its file."""
        return self.path.stem

    def read(self) -> PreparedScene:
        """Read and prepare the scene.

        Raises:
            SceneError: the file is not a scene, or the facts do not fit it.
        """
        found = read_scene(self.path)
        scene, prepared = self._prepared(found)
        return PreparedScene(scene=scene, content_sha256=content_sha256(found.cube), prepared=prepared)

    def _prepared(self, found: Scene) -> tuple[Scene, str | None]:
        scene = self._with_facts(found)
        if self.bands is None:
            return scene, None
        wanted = np.array(self.bands)
        if scene.wavelengths is None and scene.cube.shape[2] == len(wanted):
            said = f"its {len(wanted)} bands have no known centres and are taken for the bundle's"
            return replace(scene, wavelengths=wanted), said
        known = scene.wavelengths
        if known is not None and known.shape == wanted.shape and np.allclose(known, wanted, 0, _SAME_CENTRE_NM):
            return scene, None
        try:
            resampled = resample_bands(scene, wanted)
        except SceneError as error:
            return scene, f"it stays on its own bands: {error}"
        spread = ", taken to lie evenly," if self.facts.spread and found.wavelengths is None else ""
        return resampled, f"its {scene.cube.shape[2]} bands{spread} were interpolated to the bundle's {len(wanted)}"

    def _with_facts(self, scene: Scene) -> Scene:
        bands = scene.cube.shape[2]
        wavelengths, no_data = scene.wavelengths, scene.no_data
        if wavelengths is None and self.facts.wavelengths is not None:
            wavelengths = np.array(self.facts.wavelengths)
        if wavelengths is None and self.facts.spread is not None:
            wavelengths = np.linspace(*self.facts.spread, bands)
        if no_data is None:
            no_data = self.facts.no_data
        try:
            return replace(scene, wavelengths=wavelengths, no_data=no_data)
        except SceneError as error:
            raise SceneError(f"{self.path}: {error}") from error
