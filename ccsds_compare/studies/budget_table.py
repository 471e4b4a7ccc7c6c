"""Are budgets kept and used? What every scene's stream takes of one, and how good the picture is then.

python -m studies.budget_table SCENE... --bundle BUNDLE --out table.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hyvic_compare.rate_distortion_table import add_scenes, scene_on_bands
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.errors import RateError
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.flight.rate_search import RateSearch
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.atomic_file import replacing
from hyvic_runtime.support.metrics import psnr

DEFAULT_RATIOS = (32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scene within one budget.

    Attributes:
        scene: name of its file.
        shape: lines, samples, bands.
        ratio: that the budget is of.
        budget: octets.
        octets: of the stream, or None where the lowest rate takes more.
        quality: that it was coded at.
        psnr_db: of what it decodes to, over the bundle's range.
        attempts: encodings that it took to find the quality.
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
        """Of the table."""
        if self.octets is None:
            return "–"
        return f"{self.octets / self.budget:.1%}, {self.psnr_db:.2f} dB, q {self.quality:g}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = command_parser(
        "budget_table",
        "Code scenes within budgets: the share of each that is used, PSNR and quality.",
        "python -m studies.budget_table scene.npz --bundle hyvic.bundle --out table.md",
    )
    add_scenes(parser)
    parser.add_argument("--bundle", type=Path, required=True, help="what export-engine wrote, of several rates")
    parser.add_argument(
        "--ratios", type=float, nargs="+", metavar="R", default=DEFAULT_RATIOS, help="by default 32 … 1,024"
    )
    return run_command(parser, argv, _run, extra="compare")


def _run(arguments: argparse.Namespace) -> Result:
    from tqdm import tqdm

    bundle = read_bundle(arguments.bundle)
    encoder, decoder = encoder_of(bundle), decoder_of(bundle)
    encoder.check_has_rates()
    scenes = [(path.stem, scene_on_bands(path, encoder, arguments)) for path in arguments.scenes]
    points = [(name, scene, ratio) for name, scene in scenes for ratio in arguments.ratios]
    rows = [
        measure(name, scene, ratio, encoder, decoder) for name, scene, ratio in tqdm(points, unit="point", disable=None)
    ]
    text = markdown_table(rows)
    with replacing(arguments.out) as (partial,):
        partial.write_text(text, encoding="utf-8")
    return {"bundle": bundle.identity.hex(), "out": str(arguments.out), "rows": [asdict(row) for row in rows]}, text


def measure(name: str, scene: Scene, ratio: float, encoder: AnyEncoder, decoder: AnyDecoder) -> Row:
    """Code one scene within what a compression ratio allows."""
    budget = int(scene.cube.nbytes / ratio)
    row = Row(scene=name, shape=scene.cube.shape, ratio=ratio, budget=budget)
    with tempfile.TemporaryDirectory() as folder:
        try:
            stream = RateSearch(encoder=encoder, scene=scene, folder=Path(folder)).within(budget)
        except RateError:
            return row
        decoded = decoder.decode(stream.read()).scene.cube
    return Row(
        scene=name,
        shape=scene.cube.shape,
        ratio=ratio,
        budget=budget,
        octets=stream.octets,
        quality=stream.quality,
        psnr_db=psnr(scene.cube, decoded, encoder.bundle.manifest.peak),
        attempts=stream.attempts,
    )


def markdown_table(rows: Sequence[Row]) -> str:
    """A row a scene and a column a ratio, and what all of them took."""
    ratios = list(dict.fromkeys(row.ratio for row in rows))
    lines = [f"| scene | shape | {' | '.join(f'{ratio:g}' for ratio in ratios)} |", f"|:--|:--|{'--:|' * len(ratios)}"]
    for name in dict.fromkeys(row.scene for row in rows):
        own = [row for row in rows if row.scene == name]
        lines.append(f"| {name} | {' × '.join(map(str, own[0].shape))} | {' | '.join(row.cell for row in own)} |")
    shares = [row.octets / row.budget for row in rows if row.octets is not None]
    attempts = [row.attempts for row in rows if row.attempts is not None]
    lines += ["", f"{len(shares)} of {len(rows)} budgets can be met."]
    if shares:
        lines[-1] += (
            f" Of those {min(shares):.1%} to {max(shares):.1%} was used. Encodings to find the quality: "
            f"{sum(attempts) / len(attempts):.1f} on average, {max(attempts)} at most."
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
