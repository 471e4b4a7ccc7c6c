"""Bundles on scenes that each was trained without, against an earlier comparison on the same cubes.

python -m studies.cross_validation SCENE... --fold BUNDLE=PATTERN,... --reference comparison.json --out table.md

A model of few weights can be trained several times, each time without some scenes. Together the runs are measured on
all scenes, and no scene by a model that has seen it: a bundle that lists the pixels of its scene among those that it
was trained on is refused. A bundle without a complete list cannot be checked, and the table says so. Scenes are
prepared as for the comparison, by the same code: with the facts from `--facts`, then on the band centres that the
comparison records.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from hyvic_compare.figure_files import save_svg
from hyvic_compare.results_file import RecordedScene, read_results
from hyvic_compare.scene_facts import Facts, read_facts
from hyvic_compare.scene_source import PreparedScene, SceneSource
from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.codec.seen_scenes import Seen, seen_scenes_of
from hyvic_runtime.errors import SceneError
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.packets.quality import HIGHEST_QUALITY, LOWEST_QUALITY
from hyvic_runtime.scene.scene import Scene

from studies.cross_validation_report import CodedScene, figure_of, gains_of, markdown_report, write_points
from studies.harness import CodedPoint, Findings, coded_point, progress, run_study, shape_text, study_parser

FIRST_QUALITY = 20.0
QUALITY_STEP = 5.0
"""Half an octave of the adaptive family's quantiser step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A training that left scenes out.

    Attributes:
        bundle: folder of the bundle from this training.
        unseen: patterns of the names of scenes that, as the user says, the training never saw.
    """

    bundle: Path
    unseen: tuple[str, ...]

    def is_for(self, scene: str) -> bool:
        """Return whether the user says that a scene was left out."""
        return any(fnmatchcase(scene, pattern) for pattern in self.unseen)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = study_parser(
        "cross_validation",
        "Code each scene with a bundle that was trained without it, and compare it with an earlier compare-codecs at "
        "the octets that other codecs took. Points (.csv) and a plot (.svg, .png) stand beside the table.",
        "scenes/*.npz --fold a.bundle='aviris_*' --fold b.bundle='enmap_*' "
        "--reference comparison/comparison.json --facts scene-facts.json --out table.md",
    )
    parser.add_argument("scenes", type=Path, nargs="+", metavar="SCENE", help="scenes of the comparison")
    parser.add_argument(
        "--fold",
        type=_fold,
        action="append",
        required=True,
        metavar="BUNDLE=PATTERN,...",
        help="a bundle and the scenes that it was trained without; the first fold that fits a scene counts",
    )
    parser.add_argument(
        "--reference", type=Path, required=True, metavar="comparison.json", help="file in a report of compare-codecs"
    )
    parser.add_argument("--facts", type=Path, metavar="FACTS.json", help="facts that the comparison was given")
    parser.add_argument(
        "--quality-step",
        type=float,
        default=QUALITY_STEP,
        metavar="Q",
        help=f"step from one point of a scene's curve to the next (default: {QUALITY_STEP:g})",
    )
    return run_study(parser, argv, _study)


def _fold(text: str) -> Fold:
    bundle, _, patterns = text.rpartition("=")
    unseen = tuple(pattern.strip() for pattern in patterns.split(",") if pattern.strip())
    if not bundle or not unseen:
        raise argparse.ArgumentTypeError(f"'{text}' is not BUNDLE=PATTERN,... such as a.bundle='aviris_*,samson'")
    return Fold(bundle=Path(bundle), unseen=unseen)


def _study(arguments: argparse.Namespace) -> Findings:
    if not arguments.quality_step > 0:
        raise ValueError(f"--quality-step {arguments.quality_step:g} is invalid; it must be positive")
    recorded = read_results(arguments.reference)
    facts = Facts() if arguments.facts is None else read_facts(arguments.facts)
    # All are prepared before any is coded: a mistake in the last one should not cost the work on the others.
    tasks = [
        (fold_of(path.stem, arguments.fold), prepared(path, recorded, facts), recorded[path.stem])
        for path in arguments.scenes
    ]
    bundles = {fold.bundle: read_bundle(fold.bundle) for fold in arguments.fold}
    parts = [checked_part(bundles[fold.bundle], scene, record.name) for fold, scene, record in tasks]
    codecs = {folder: (encoder_of(bundle), decoder_of(bundle)) for folder, bundle in bundles.items()}
    coded = []
    for (fold, scene, record), part in progress(list(zip(tasks, parts, strict=True)), "scene"):
        points = curve(scene.scene, record, *codecs[fold.bundle], step=arguments.quality_step)
        coded.append(CodedScene(record=record, bundle=fold.bundle.name, training=part, points=points))
    gains = gains_of(coded)
    figure = figure_of(gains)
    return Findings(
        document={"gains": [asdict(gain) for gain in gains]},
        text=markdown_report(coded, gains),
        beside={
            ".csv": lambda path: write_points(coded, path),
            ".png": lambda path: figure.savefig(path, format="png", dpi=110),
            ".svg": lambda path: save_svg(figure, path),
        },
    )


def fold_of(scene: str, folds: Sequence[Fold]) -> Fold:
    """Return the first fold that left a scene out, as the user says.

    Raises:
        SceneError: no fold did.
    """
    for fold in folds:
        if fold.is_for(scene):
            return fold
    raise SceneError(
        f"every fold may have seen {scene}; name it in the --fold that was trained without it, or leave it out"
    )


def checked_part(bundle: Bundle, scene: PreparedScene, name: str) -> Seen:
    """Return the part of a scene in a bundle's training, by its pixels.

    Raises:
        SceneError: the bundle was trained on it.
    """
    part = seen_scenes_of(bundle).answer(scene.content_sha256)
    if part is Seen.TRAINED:
        raise SceneError(
            f"{bundle.folder} was trained on {name}, by the hash of its pixels; name {name} in another --fold, or "
            "leave it out"
        )
    return part


def prepared(path: Path, recorded: Mapping[str, RecordedScene], facts: Facts) -> PreparedScene:
    """Return a scene as the comparison's codecs got it.

    Raises:
        SceneError: the comparison does not have the scene, or has it in another shape.
    """
    record = recorded.get(path.stem)
    if record is None:
        raise SceneError(f"{path}: the comparison has no scene {path.stem}; it has {', '.join(recorded)}")
    scene = SceneSource(path=path, facts=facts.of_scene(path.stem), bands=record.wavelengths).read()
    shape = scene.scene.cube.shape
    if shape != record.shape:
        raise SceneError(
            f"{path} is {shape_text(shape)} here and {shape_text(record.shape)} in the comparison; give the "
            "--facts that it was given"
        )
    return scene


def curve(
    scene: Scene, record: RecordedScene, encoder: AnyEncoder, decoder: AnyDecoder, *, step: float
) -> tuple[CodedPoint, ...]:
    """Return points by rising ratio, one step of the quality apart, that enclose all ratios of the comparison.

    Args:
        scene: the scene as the comparison had it.
        record: record of the comparison.
        encoder: encoder of the bundle.
        decoder: decoder of the bundle.
        step: step of the quality.
    """

    def at(quality: float) -> CodedPoint:
        return coded_point(scene, encoder, decoder, quality, peak=record.peak)

    ratios = [point.compression_ratio for point in record.points]
    points = [at(FIRST_QUALITY)]
    while points[0].compression_ratio > min(ratios) and points[0].quality + step <= HIGHEST_QUALITY:
        points.insert(0, at(points[0].quality + step))
    while points[-1].compression_ratio < max(ratios) and points[-1].quality - step >= LOWEST_QUALITY:
        points.append(at(points[-1].quality - step))
    return tuple(points)


if __name__ == "__main__":
    sys.exit(main())
