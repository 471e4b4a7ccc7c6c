"""Decoded scenes to files, one by one or all of a stream into a folder."""

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
    """A reconstruction in a file.

    Attributes:
        scene_id: the sender's.
        file: its name.
        shape: (line, sample, band).
        quality: shares of its pixels, by the name of a `Quality`.
    """

    scene_id: int
    file: str
    shape: tuple[int, ...]
    quality: dict[str, float]

    @property
    def samples(self) -> int:
        """Of the cube."""
        return int(np.prod(self.shape))


def quality_map_of(picture: Path) -> Path:
    """Where the quality map of a picture stands."""
    return picture.with_name(f"{picture.name}.quality.npy")


def write_decoded(decoded: DecodedScene, path: Path, *, with_quality: bool) -> WrittenScene:
    """Write a picture, and its quality map or none.

    Raises:
        SceneError: the format cannot be written, or not with this scene.
    """
    quality_map = quality_map_of(path)
    if with_quality:
        with replacing(quality_map) as (partial,):  # before the picture, which must not stand without it
            np.save(partial, decoded.quality)
    write_scene(decoded.scene, path)
    if not with_quality:
        quality_map.unlink(missing_ok=True)  # of the picture that stood here before
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
        decoder: of their bundle.
        stream: what was received.
        folder: is made where it is not there.
        scene_id: the only one to write; None: all.
        suffix: of the files.
        conceal: write what arrived even if tiles were lost, and quality maps.
        progress: called with the tiles of a scene reconstructed so far and in all.

    Returns:
        What was written, and why the other scenes were not, by identifier.

    Raises:
        DecodeError: the stream holds no scene, or not the one.
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
