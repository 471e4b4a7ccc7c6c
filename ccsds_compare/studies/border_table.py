"""Do tile borders show? PSNR beside them and away from them, with the same pixels of the scene coded as one tile.

python -m studies.border_table SCENE... --bundle BUNDLE --whole BUNDLE --out table.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from hyvic_compare.codecs.codec import Cube
from hyvic_compare.rate_distortion_table import add_scene_options, scene_on_bands
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.errors import SceneError
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.atomic_file import replacing
from hyvic_runtime.support.metrics import psnr
from numpy.typing import NDArray

REACH = 8
"""Pixels on either side of a border between tiles that count as beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scene at one quality.

    Attributes:
        scene: name of its file.
        quality: 0 … 100, or None where the bundle has one rate.
        border_db, interior_db: PSNR of the pixels within REACH of a border between tiles, and of the others.
        whole_border_db, whole_interior_db: of the same pixels where the whole scene is one tile.
    """

    scene: str
    quality: float | None
    border_db: float
    interior_db: float
    whole_border_db: float
    whole_interior_db: float

    @property
    def effect_db(self) -> float:
        """What the border itself does: content beside it may be easier or harder than elsewhere, however it is cut."""
        return (self.border_db - self.interior_db) - (self.whole_border_db - self.whole_interior_db)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = command_parser(
        "border_table",
        "PSNR beside borders of tiles and away from them, and that of the same pixels without any border.",
        "python -m studies.border_table scene.npz --bundle tiles-64.bundle --whole tiles-256.bundle --out t.md",
    )
    add_scene_options(parser)
    parser.add_argument("--bundle", type=Path, required=True, help="of tiles smaller than the scenes")
    parser.add_argument("--whole", type=Path, required=True, help="of the same checkpoint, of tiles as large as they")
    parser.add_argument(
        "--mirror-to", type=int, metavar="LINES", help="let scenes go on as their mirror images to so many lines"
    )
    return run_command(parser, argv, _run, extra="compare")


def _run(arguments: argparse.Namespace) -> Result:
    from tqdm import tqdm

    tiled, whole = encoder_of(read_bundle(arguments.bundle)), encoder_of(read_bundle(arguments.whole))
    scenes = [
        (path.stem, _mirrored(scene_on_bands(path, tiled, arguments), arguments.mirror_to or 0))
        for path in arguments.scenes
    ]
    for name, scene in scenes:
        if tiled.grid(scene).rows * tiled.grid(scene).columns == 1 or whole.grid(scene).rows > 1:
            raise SceneError(f"{name}: {arguments.bundle} must cut it into tiles and {arguments.whole} must not")
    points = [(name, scene, quality) for name, scene in scenes for quality in arguments.qualities or (None,)]
    rows = [measure(name, scene, tiled, whole, quality) for name, scene, quality in tqdm(points, disable=None)]
    text = markdown_table(rows)
    with replacing(arguments.out) as (partial,):
        partial.write_text(text, encoding="utf-8")
    return {"out": str(arguments.out), "rows": [asdict(row) for row in rows]}, text


def _mirrored(scene: Scene, lines: int) -> Scene:
    """A scene of at least so many lines."""
    beyond = max(lines - len(scene.cube), 0)
    return Scene(cube=np.pad(scene.cube, ((0, beyond), (0, 0), (0, 0)), mode="symmetric"))


def measure(name: str, scene: Scene, tiled: AnyEncoder, whole: AnyEncoder, quality: float | None) -> Row:
    """Code one scene in tiles and as one."""
    rows_only = isinstance(tiled.bundle, AdaptiveBundle)  # tiles of a row share its transform
    border = beside_borders(scene.cube.shape[:2], tiled.bundle.manifest.geometry.tile, rows_only=rows_only)
    cubes = [
        decoder_of(encoder.bundle).decode(scene_stream(encoder, scene, quality=quality)).scene.cube
        for encoder in (tiled, whole)
    ]

    def at(cube: Cube, pixels: NDArray[np.bool_]) -> float:
        return psnr(scene.cube[pixels][None], cube[pixels][None], tiled.bundle.manifest.peak)

    return Row(
        scene=name,
        quality=quality,
        border_db=at(cubes[0], border),
        interior_db=at(cubes[0], ~border),
        whole_border_db=at(cubes[1], border),
        whole_interior_db=at(cubes[1], ~border),
    )


def beside_borders(shape: tuple[int, ...], tile: int, *, rows_only: bool = False) -> NDArray[np.bool_]:
    """Pixels within REACH of a border between tiles, or rows of them, (line, sample); the scene's own edge is none."""
    sides = []
    for axis, size in enumerate(shape):
        sides.append(np.zeros(size, bool))
        for border in range(tile, size, tile) if axis == 0 or not rows_only else ():
            sides[-1][border - REACH : border + REACH] = True
    return np.logical_or.outer(sides[0], sides[1])


def markdown_table(rows: Sequence[Row]) -> str:
    """A row a scene and quality."""
    lines = [
        f"| scene | quality | PSNR within {REACH} pixels of a border, dB | interior, dB | difference, dB "
        "| difference of the same pixels in one tile, dB | effect of the border, dB |",
        "|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        quality = "–" if row.quality is None else f"{row.quality:g}"
        lines.append(
            f"| {row.scene} | {quality} | {row.border_db:.3f} | {row.interior_db:.3f} "
            f"| {row.border_db - row.interior_db:+.3f} | {row.whole_border_db - row.whole_interior_db:+.3f} "
            f"| {row.effect_db:+.3f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
