"""Bundles of one model side by side: the cost of a precision, or of another export, at equal rate.

python -m studies.bundle_table SCENE... --bundle REFERENCE OTHER... --out table.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hyvic_compare.bd_psnr import Curve, CurveGapError, bd_psnr
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.errors import SceneError
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.scene.scene import Scene

from studies import harness


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCurve:
    """One bundle on one scene.

    Attributes:
        scene: name of its file.
        bundle: name of its folder.
        precision: precision of the encoder's analysis.
        curve: points by rising compression ratio, packet headers included.
        bd_psnr_db: eq. 6 against the first bundle; None if there is no common range.
    """

    scene: str
    bundle: str
    precision: str
    curve: Curve
    bd_psnr_db: float | None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = harness.study_parser(
        "bundle_table",
        "Code scenes with several bundles at several qualities, and give their BD-PSNR against the first.",
        "scene.npz --bundle fp32.bundle int8.bundle --out table.md",
    )
    harness.add_scenes(parser)
    harness.add_qualities(parser)
    parser.add_argument("--bundle", type=Path, nargs="+", required=True, help="bundles, the reference first")
    return harness.run_study(parser, argv, _study)


def _study(arguments: argparse.Namespace) -> harness.Findings:
    encoders = [encoder_of(read_bundle(folder)) for folder in arguments.bundle]
    scenes = harness.scenes_on_bands(arguments, encoders[0])
    reference = encoders[0].bundle
    for encoder in encoders[1:]:
        manifest = encoder.bundle.manifest
        if (manifest.bands, manifest.wavelengths) != (reference.manifest.bands, reference.manifest.wavelengths):
            raise SceneError(f"{encoder.bundle.folder} codes other bands than {reference.folder}; compare them apart")
    if any(encoder.bundle.manifest.rates == 1 for encoder in encoders):
        raise ValueError("a bundle of a single rate has one point and no curve; compare bundles of several rates")
    qualities = arguments.qualities or harness.DEFAULT_QUALITIES
    tasks = [(name, scene, encoder) for name, scene in scenes for encoder in encoders]
    curves = [curve_of(scene, encoder, qualities) for _, scene, encoder in harness.progress(tasks, "curve")]
    measured = [
        BundleCurve(
            scene=name,
            bundle=encoder.bundle.folder.name,
            precision=encoder.bundle.manifest.precision,
            curve=curve,
            bd_psnr_db=_bd_psnr_db(curve, curves[index - index % len(encoders)]),
        )
        for index, ((name, _, encoder), curve) in enumerate(zip(tasks, curves, strict=True))
    ]
    return harness.Findings(document={"curves": [asdict(curve) for curve in measured]}, text=markdown(measured))


def _bd_psnr_db(curve: Curve, reference: Curve) -> float | None:
    try:
        return bd_psnr(curve, reference).db
    except CurveGapError:
        return None


def curve_of(scene: Scene, encoder: AnyEncoder, qualities: Sequence[float]) -> Curve:
    """Code a scene at several qualities."""
    decoder, peak = decoder_of(encoder.bundle), encoder.bundle.manifest.peak
    points = [harness.coded_point(scene, encoder, decoder, quality, peak=peak) for quality in qualities]
    ratios, psnr_db = zip(*sorted((point.compression_ratio, point.psnr_db) for point in points), strict=True)
    return Curve(ratios=ratios, psnr_db=psnr_db)


def markdown(curves: Sequence[BundleCurve]) -> str:
    """Return a table with a row for each scene and bundle: CR → PSNR by rising ratio, and BD-PSNR."""
    rows = []
    for row in curves:
        points = zip(row.curve.ratios, row.curve.psnr_db, strict=True)
        cells = " · ".join(f"{ratio:.1f} → {db:.3f}" for ratio, db in points)
        gap = "–" if row.bd_psnr_db is None else f"{row.bd_psnr_db:+.3f} dB"
        rows.append((row.scene, row.bundle, row.precision, cells, gap))
    return harness.table(("scene", "bundle", "analysis", "CR → PSNR in dB", "BD-PSNR"), rows, words=4)


if __name__ == "__main__":
    sys.exit(main())
