"""Bundles of one model beside each other: what a precision, or another export, costs at equal rate.

python -m studies.bundle_table SCENE... --bundle REFERENCE OTHER... --out table.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hyvic_compare.bd_psnr import Curve, CurveGapError, bd_psnr
from hyvic_compare.rate_distortion_table import DEFAULT_QUALITIES, add_scene_options, scene_on_bands
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.errors import SceneError
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.atomic_file import replacing
from hyvic_runtime.support.metrics import compression_ratio, psnr


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCurve:
    """One bundle on one scene.

    Attributes:
        scene: name of its file.
        bundle: name of its folder.
        precision: of its encoder's analysis.
        curve: by rising compression ratio, packet headers included.
        bd_psnr_db: eq. 6 against the first bundle; None: there is no common range.
    """

    scene: str
    bundle: str
    precision: str
    curve: Curve
    bd_psnr_db: float | None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = command_parser(
        "bundle_table",
        "Code scenes with several bundles at several qualities, and give their BD-PSNR against the first.",
        "python -m studies.bundle_table scene.npz --bundle fp32.bundle int8.bundle --out table.md",
    )
    add_scene_options(parser)
    parser.add_argument("--bundle", type=Path, nargs="+", required=True, help="the reference first")
    return run_command(parser, argv, _run, extra="compare")


def _run(arguments: argparse.Namespace) -> Result:
    from tqdm import tqdm

    encoders = [encoder_of(read_bundle(folder)) for folder in arguments.bundle]
    scenes = [(path.stem, scene_on_bands(path, encoders[0], arguments)) for path in arguments.scenes]
    reference = encoders[0].bundle
    for encoder in encoders[1:]:
        manifest = encoder.bundle.manifest
        if (manifest.bands, manifest.wavelengths) != (reference.manifest.bands, reference.manifest.wavelengths):
            raise SceneError(f"{encoder.bundle.folder} codes other bands than {reference.folder}; compare them apart")
    if any(encoder.bundle.manifest.rates == 1 for encoder in encoders):
        raise ValueError("a bundle of a single rate has one point and no curve; compare bundles of several rates")
    qualities = arguments.qualities or DEFAULT_QUALITIES
    with tqdm(total=len(scenes) * len(encoders), unit="curve", disable=None) as bar:
        curves = []
        for name, scene in scenes:
            for curve in _curves(name, scene, encoders, qualities):
                curves.append(curve)
                bar.update()
    text = markdown_table(curves)
    with replacing(arguments.out) as (partial,):
        partial.write_text(text, encoding="utf-8")
    return {"out": str(arguments.out), "curves": [asdict(curve) for curve in curves]}, text


def _curves(
    name: str, scene: Scene, encoders: Sequence[AnyEncoder], qualities: Sequence[float]
) -> Iterator[BundleCurve]:
    reference: Curve | None = None
    for encoder in encoders:
        curve = _curve(scene, encoder, qualities)
        reference = reference or curve
        try:
            gap = bd_psnr(curve, reference).db
        except CurveGapError:
            gap = None
        yield BundleCurve(
            scene=name,
            bundle=encoder.bundle.folder.name,
            precision=encoder.bundle.manifest.precision,
            curve=curve,
            bd_psnr_db=gap,
        )


def _curve(scene: Scene, encoder: AnyEncoder, qualities: Sequence[float]) -> Curve:
    decoder = decoder_of(encoder.bundle)
    points = []
    for quality in qualities:
        stream = scene_stream(encoder, scene, quality=quality)
        ratio = compression_ratio(scene.cube.size, scene.bit_depth, len(stream))
        points.append((ratio, psnr(scene.cube, decoder.decode(stream).scene.cube, encoder.bundle.manifest.peak)))
    ratios, psnr_db = zip(*sorted(points), strict=True)
    return Curve(ratios=ratios, psnr_db=psnr_db)


def markdown_table(curves: Sequence[BundleCurve]) -> str:
    """A row a scene and bundle: compression ratio → PSNR at every quality, lowest rate last, and BD-PSNR."""
    lines = [
        "| scene | bundle | analysis | CR → PSNR in dB | BD-PSNR |",
        "|:--|:--|:--|:--|--:|",
    ]
    for row in curves:
        points = zip(row.curve.ratios, row.curve.psnr_db, strict=True)
        cells = " · ".join(f"{ratio:.1f} → {db:.3f}" for ratio, db in points)
        gap = "–" if row.bd_psnr_db is None else f"{row.bd_psnr_db:+.3f} dB"
        lines.append(f"| {row.scene} | {row.bundle} | {row.precision} | {cells} | {gap} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
