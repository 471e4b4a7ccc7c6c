"""Do tile borders show? PSNR near them and away from them, and of the same pixels with the scene coded as one tile.

python -m studies.border_table SCENE... --bundle BUNDLE --whole BUNDLE --out table.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.errors import SceneError
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.scene.scene import Cube, Scene
from hyvic_runtime.support.metrics import psnr
from numpy.typing import NDArray

from studies import harness

REACH = 8
"""Pixels on either side of a border between tiles that count as near it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scene at one quality.

    Attributes:
        scene: name of its file.
        quality: 0 … 100, or None for a bundle of one rate.
        border_db, interior_db: PSNR of the pixels within REACH of a border between tiles, and of the others.
        whole_border_db, whole_interior_db: PSNR of the same pixels if the whole scene is one tile.
    """

    scene: str
    quality: float | None
    border_db: float
    interior_db: float
    whole_border_db: float
    whole_interior_db: float

    @property
    def effect_db(self) -> float:
        """Effect of the border itself: content near it may be easier or harder than elsewhere, however it is cut."""
        return (self.border_db - self.interior_db) - (self.whole_border_db - self.whole_interior_db)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = harness.study_parser(
        "border_table",
        "PSNR near borders of tiles and away from them, and PSNR of the same pixels without any border.",
        "scene.npz --bundle tiles-64.bundle --whole tiles-256.bundle --out t.md",
    )
    harness.add_scenes(parser)
    harness.add_qualities(parser)
    parser.add_argument("--bundle", type=Path, required=True, help="bundle with tiles smaller than the scenes")
    parser.add_argument(
        "--whole", type=Path, required=True, help="bundle of the same checkpoint, with tiles as large as the scenes"
    )
    parser.add_argument("--mirror-to", type=int, metavar="LINES", help="extend scenes to so many lines by mirroring")
    return harness.run_study(parser, argv, _study)


def _study(arguments: argparse.Namespace) -> harness.Findings:
    tiled, whole = encoder_of(read_bundle(arguments.bundle)), encoder_of(read_bundle(arguments.whole))
    scenes = [
        (name, _mirrored(scene, arguments.mirror_to or 0)) for name, scene in harness.scenes_on_bands(arguments, tiled)
    ]
    for name, scene in scenes:
        if tiled.grid(scene).rows * tiled.grid(scene).columns == 1 or whole.grid(scene).rows > 1:
            raise SceneError(f"{name}: {arguments.bundle} must cut it into tiles and {arguments.whole} must not")
    points = [(name, scene, quality) for name, scene in scenes for quality in arguments.qualities or (None,)]
    rows = [measure(name, scene, tiled, whole, quality) for name, scene, quality in harness.progress(points, "point")]
    return harness.Findings(document={"rows": [asdict(row) for row in rows]}, text=markdown(rows))


def _mirrored(scene: Scene, lines: int) -> Scene:
    """Return a scene of at least so many lines."""
    beyond = max(lines - len(scene.cube), 0)
    return Scene(cube=np.pad(scene.cube, ((0, beyond), (0, 0), (0, 0)), mode="symmetric"))


def measure(name: str, scene: Scene, tiled: AnyEncoder, whole: AnyEncoder, quality: float | None) -> Row:
    """Code one scene in tiles and as one."""
    geometry = tiled.bundle.manifest.geometry
    # Without a halo, the tiles of a row share one transform, so only the rows have borders.
    border = near_borders(scene.cube.shape[:2], geometry.tile, rows_only=geometry.halo_before == 0)
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


def near_borders(shape: tuple[int, ...], tile: int, *, rows_only: bool = False) -> NDArray[np.bool_]:
    """Mark pixels within REACH of a border between tiles, or between rows of tiles, (line, sample).

    The scene's own edge is not a border.

    >>> near_borders((40, 20), tile=32)[22:26, 0].tolist()
    [False, False, True, True]
    """
    sides = []
    for axis, size in enumerate(shape):
        sides.append(np.zeros(size, bool))
        for border in range(tile, size, tile) if axis == 0 or not rows_only else ():
            sides[-1][border - REACH : border + REACH] = True
    return np.logical_or.outer(sides[0], sides[1])


def markdown(rows: Sequence[Row]) -> str:
    """Return a table with a row for each scene and quality."""
    headings = (
        "scene",
        "quality",
        f"PSNR within {REACH} pixels of a border, dB",
        "interior, dB",
        "difference, dB",
        "difference of the same pixels in one tile, dB",
        "effect of the border, dB",
    )
    cells = (
        (
            row.scene,
            harness.or_dash(row.quality, "g"),
            f"{row.border_db:.3f}",
            f"{row.interior_db:.3f}",
            f"{row.border_db - row.interior_db:+.3f}",
            f"{row.whole_border_db - row.whole_interior_db:+.3f}",
            f"{row.effect_db:+.3f}",
        )
        for row in rows
    )
    return harness.table(headings, cells)


if __name__ == "__main__":
    sys.exit(main())
