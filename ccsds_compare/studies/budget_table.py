"""Are budgets kept and used? The share of a budget that every scene's stream takes, and the PSNR that it gives.

python -m studies.budget_table SCENE... --bundle BUNDLE --out table.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.errors import RateError
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.flight.rate_search import RateSearch
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import psnr

from studies import harness

DEFAULT_RATIOS = (32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scene within one budget.

    Attributes:
        scene: name of its file.
        shape: lines, samples, bands.
        ratio: compression ratio that gives the budget.
        budget: octets allowed.
        octets: octets of the stream, or None if the lowest rate takes more than the budget.
        quality: quality of the stream.
        psnr_db: PSNR of the decoded scene, over the bundle's range.
        attempts: number of encodings that finding the quality took.
    """

    scene: str
    shape: tuple[int, ...]
    ratio: float
    budget: int
    octets: int | None = None
    quality: float | None = None
    psnr_db: float | None = None
    attempts: int | None = None

    @property
    def cell(self) -> str:
        """Text for the table."""
        if self.octets is None:
            return "–"
        return f"{self.octets / self.budget:.1%}, {self.psnr_db:.2f} dB, q {self.quality:g}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = harness.study_parser(
        "budget_table",
        "Code scenes within budgets: the used share of each budget, PSNR and quality.",
        "scene.npz --bundle hyvic.bundle --out table.md",
    )
    harness.add_scenes(parser)
    parser.add_argument("--bundle", type=Path, required=True, help="bundle of several rates")
    parser.add_argument(
        "--ratios", type=float, nargs="+", metavar="R", default=DEFAULT_RATIOS, help="default: 32 … 1,024"
    )
    return harness.run_study(parser, argv, _study)


def _study(arguments: argparse.Namespace) -> harness.Findings:
    bundle = read_bundle(arguments.bundle)
    encoder, decoder = encoder_of(bundle), decoder_of(bundle)
    encoder.check_has_rates()
    scenes = harness.scenes_on_bands(arguments, encoder)
    points = [(name, scene, ratio) for name, scene in scenes for ratio in arguments.ratios]
    rows = [measure(name, scene, ratio, encoder, decoder) for name, scene, ratio in harness.progress(points, "point")]
    document = {"bundle": bundle.identity.hex(), "rows": [asdict(row) for row in rows]}
    return harness.Findings(document=document, text=markdown(rows))


def measure(name: str, scene: Scene, ratio: float, encoder: AnyEncoder, decoder: AnyDecoder) -> Row:
    """Code one scene within the octets that a compression ratio allows."""
    budget = int(scene.cube.nbytes / ratio)
    row = Row(scene=name, shape=scene.cube.shape, ratio=ratio, budget=budget)
    with tempfile.TemporaryDirectory() as folder:
        try:
            stream = RateSearch(encoder=encoder, scene=scene, folder=Path(folder)).within(budget)
        except RateError:
            return row
        decoded = decoder.decode(stream.read()).scene.cube
    return replace(
        row,
        octets=stream.octets,
        quality=stream.quality,
        psnr_db=psnr(scene.cube, decoded, encoder.bundle.manifest.peak),
        attempts=stream.attempts,
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return a table with a row for each scene and a column for each ratio, then the figures of all together."""
    ratios = dict.fromkeys(row.ratio for row in rows)
    by_scene = {name: [row for row in rows if row.scene == name] for name in dict.fromkeys(row.scene for row in rows)}
    cells = ((name, harness.shape_text(own[0].shape), *(row.cell for row in own)) for name, own in by_scene.items())
    text = harness.table(("scene", "shape", *(f"{ratio:g}" for ratio in ratios)), cells, words=2)
    shares = [row.octets / row.budget for row in rows if row.octets is not None]
    attempts = [row.attempts for row in rows if row.attempts is not None]
    text += f"\n{len(shares)} of {len(rows)} budgets can be met."
    if shares:
        text += (
            f" Of those {min(shares):.1%} to {max(shares):.1%} was used. Encodings to find the quality: "
            f"{sum(attempts) / len(attempts):.1f} on average, {max(attempts)} at most."
        )
    return text + "\n"


if __name__ == "__main__":
    sys.exit(main())
