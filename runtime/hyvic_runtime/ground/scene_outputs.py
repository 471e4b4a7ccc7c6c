"""Writes decoded scenes: one scene to a file, or all scenes of a stream into a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_decoder import AnyDecoder, DecodedScene, Progress
from hyvic_runtime.errors import DecodeError, SceneError
from hyvic_runtime.packets.reassembly import ReceivedStream
from hyvic_runtime.scene.files import write_scene
from hyvic_runtime.support.atomic_file import replacing


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenScene:
    """Decoded scene in a file.

    Attributes:
        scene_id: identifier of the scene, chosen by the sender.
        file: name of the file.
        shape: (line, sample, band).
        quality: share of pixels of each `Quality`, by name.
    """

    scene_id: int
    file: str
    shape: tuple[int, ...]
    quality: dict[str, float]

    @property
    def samples(self) -> int:
        """Number of samples of the cube."""
        return int(np.prod(self.shape))


def quality_map_of(picture: Path) -> Path:
    """Return the path of the quality map of a scene file."""
    return picture.with_name(f"{picture.name}.quality.npy")


def write_decoded(decoded: DecodedScene, path: Path, *, with_quality: bool) -> WrittenScene:
    """Write a decoded scene and, if asked for, its quality map.

    Raises:
        SceneError: the format cannot be written, or cannot hold this scene.
    """
    quality_map = quality_map_of(path)
    if with_quality:
        with replacing(quality_map) as (partial,):  # before the scene, which must not stand without its map
            np.save(partial, decoded.quality)
    write_scene(decoded.scene, path)
    if not with_quality:
        quality_map.unlink(missing_ok=True)  # the map of an earlier scene of this name
    return WrittenScene(
        scene_id=decoded.scene_id,
        file=path.name,
        shape=decoded.scene.cube.shape,
        quality={quality.name.lower(): float(np.mean(decoded.quality == quality)) for quality in Quality},
    )


def write_scenes(
    decoder: AnyDecoder,
    stream: ReceivedStream,
    folder: Path,
    *,
    scene_id: int | None = None,
    suffix: str,
    conceal: bool,
    progress: Progress = lambda done, total: None,
) -> tuple[list[WrittenScene], dict[int, str]]:
    """Write the scenes of a stream into a folder, each under its identifier.

    Args:
        decoder: decoder of the bundle of the scenes.
        stream: received stream.
        folder: output folder, created if it is missing.
        scene_id: identifier of the only scene to write; None for all scenes.
        suffix: suffix of the files, which names their format.
        conceal: write scenes even if tiles were lost, and write quality maps.
        progress: called with the number of reconstructed tiles of a scene, and the number of all its tiles.

    Returns:
        The scenes written, and the reason for each scene that was not written, by identifier.

    Raises:
        DecodeError: the stream holds no scene, or does not hold the scene asked for.
    """
    if scene_id is not None or not stream.scenes:
        scene_id = stream.scene(scene_id).scene_id
    written, failed = [], {}
    for each in stream.scenes if scene_id is None else [scene_id]:
        try:
            decoded = decoder.reconstruct(stream, each, conceal=conceal, progress=progress)
            written.append(write_decoded(decoded, folder / f"{each}{suffix}", with_quality=conceal))
        except (DecodeError, SceneError) as error:
            failed[each] = str(error)
    return written, failed
