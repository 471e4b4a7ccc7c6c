"""Bundles on scenes that each was trained without, against what an earlier comparison measured on the same cubes.

python -m studies.cross_validation SCENE... --fold BUNDLE=PATTERN,... --reference comparison.json --out table.md

A model of few weights can be trained several times, each time without some scenes: together the runs are measured on
all scenes, and no scene by a model that has seen it. Scenes are prepared as for the comparison, by the code that did it
there: what `--facts` says of them, then the band centres that the comparison records.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from hyvic_compare.results_file import RecordedScene, read_recorded_scenes
from hyvic_compare.scene_facts import Facts, read_facts
from hyvic_compare.scene_source import SceneSource
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.errors import SceneError
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.packets.quality import HIGHEST_QUALITY, LOWEST_QUALITY
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.atomic_file import replacing
from hyvic_runtime.support.metrics import compression_ratio, psnr

from studies.cross_validation_report import (
    CodedPoint,
    CodedScene,
    figure_of,
    gains_of,
    markdown_report,
    write_points,
)

FIRST_QUALITY = 20.0
QUALITY_STEP = 5.0
"""Half an octave of the adaptive family's quantiser step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A training that left scenes out.

    Attributes:
        bundle: that was made of it.
        unseen: patterns of the names of scenes that it never saw.
    """

    bundle: Path
    unseen: tuple[str, ...]

    def never_saw(self, scene: str) -> bool:
        """Whether a scene was left out."""
        return any(fnmatchcase(scene, pattern) for pattern in self.unseen)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = command_parser(
        "cross_validation",
        "Code each scene with a bundle that was trained without it, and hold it against an earlier compare-codecs at "
        "the octets that other codecs took. Points (.csv) and a plot (.svg, .png) stand beside the table.",
        "python -m studies.cross_validation scenes/*.npz --fold a.bundle='aviris_*' --fold b.bundle='enmap_*' "
        "--reference comparison/comparison.json --facts scene-facts.json --out table.md",
    )
    parser.add_argument("scenes", type=Path, nargs="+", metavar="SCENE", help="that the comparison has, by their names")
    parser.add_argument(
        "--fold",
        type=_fold,
        action="append",
        required=True,
        metavar="BUNDLE=PATTERN,...",
        help="a bundle and the scenes that it was trained without; of several that fit a scene the first counts",
    )
    parser.add_argument(
        "--reference", type=Path, required=True, metavar="comparison.json", help="of a report of compare-codecs"
    )
    parser.add_argument("--facts", type=Path, metavar="FACTS.json", help="that the comparison was given")
    parser.add_argument(
        "--quality-step",
        type=float,
        default=QUALITY_STEP,
        metavar="Q",
        help=f"from one point of a scene's curve to the next (default: {QUALITY_STEP:g})",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.md", help="table to write")
    return run_command(parser, argv, _run, extra="compare")


def _fold(text: str) -> Fold:
    bundle, _, patterns = text.rpartition("=")
    unseen = tuple(pattern.strip() for pattern in patterns.split(",") if pattern.strip())
    if not bundle or not unseen:
        raise argparse.ArgumentTypeError(f"'{text}' is no BUNDLE=PATTERN,... such as a.bundle='aviris_*,samson'")
    return Fold(bundle=Path(bundle), unseen=unseen)


def _run(arguments: argparse.Namespace) -> Result:
    from matplotlib import rc_context
    from tqdm import tqdm

    if not arguments.quality_step > 0:
        raise ValueError(f"--quality-step {arguments.quality_step:g} leads nowhere; a positive number is needed")
    recorded = read_recorded_scenes(arguments.reference)
    facts = Facts() if arguments.facts is None else read_facts(arguments.facts)
    # All are prepared before any is coded: a mistake in the last one should not cost the work on the others.
    tasks = [
        (fold_of(path.stem, arguments.fold), prepared(path, recorded, facts), recorded[path.stem])
        for path in arguments.scenes
    ]
    codecs = {}
    for fold in arguments.fold:
        bundle = read_bundle(fold.bundle)
        codecs[fold.bundle] = encoder_of(bundle), decoder_of(bundle)
    coded = []
    for fold, scene, record in tqdm(tasks, unit="scene", disable=None):
        points = curve(scene, record, *codecs[fold.bundle], step=arguments.quality_step)
        coded.append(CodedScene(record=record, bundle=fold.bundle.name, points=points))
    gains = gains_of(coded)
    text = markdown_report(coded, gains)
    beside = [arguments.out.with_suffix(suffix) for suffix in (".csv", ".svg", ".png")]
    with replacing(arguments.out, *beside) as (table, points_file, svg, png):
        table.write_text(text, encoding="utf-8")
        write_points(coded, points_file)
        # The same points give the same SVG: no date, no random identifiers.
        with rc_context({"svg.hashsalt": "hyvic"}):
            figure = figure_of(gains)
            figure.savefig(png, format="png", dpi=110)
            figure.savefig(svg, format="svg", metadata={"Date": None})
    return {"out": str(arguments.out), "gains": [asdict(gain) for gain in gains]}, text


def fold_of(scene: str, folds: Sequence[Fold]) -> Fold:
    """The first fold that left a scene out.

    Raises:
        SceneError: none did.
    """
    for fold in folds:
        if fold.never_saw(scene):
            return fold
    raise SceneError(
        f"every fold may have seen {scene}; name it in the --fold that was trained without it, or leave it out"
    )


def prepared(path: Path, recorded: Mapping[str, RecordedScene], facts: Facts) -> Scene:
    """A scene as the comparison's codecs got it.

    Raises:
        SceneError: the comparison does not have it, or it comes out in another shape than there.
    """
    record = recorded.get(path.stem)
    if record is None:
        raise SceneError(f"{path}: the comparison has no scene {path.stem}; it has {', '.join(recorded)}")
    scene = SceneSource(path=path, facts=facts.of_scene(path.stem), bands=record.wavelengths).read().scene
    if scene.cube.shape != record.shape:
        raise SceneError(
            f"{path} is {' × '.join(map(str, scene.cube.shape))} here and {' × '.join(map(str, record.shape))} in the "
            "comparison; give the --facts that it was given"
        )
    return scene


def curve(
    scene: Scene, record: RecordedScene, encoder: AnyEncoder, decoder: AnyDecoder, *, step: float
) -> tuple[CodedPoint, ...]:
    """Points a step of the quality apart, until they enclose all ratios of the comparison; by rising ratio.

    Args:
        scene: as the comparison had it.
        record: of the comparison.
        encoder: of the bundle.
        decoder: of the bundle.
        step: of the quality.
    """
    ratios = [point.compression_ratio for point in record.points]
    points = [measure(scene, record.peak, encoder, decoder, FIRST_QUALITY)]
    while points[0].compression_ratio > min(ratios) and points[0].quality + step <= HIGHEST_QUALITY:
        points.insert(0, measure(scene, record.peak, encoder, decoder, points[0].quality + step))
    while points[-1].compression_ratio < max(ratios) and points[-1].quality - step >= LOWEST_QUALITY:
        points.append(measure(scene, record.peak, encoder, decoder, points[-1].quality - step))
    return tuple(points)


def measure(scene: Scene, peak: float, encoder: AnyEncoder, decoder: AnyDecoder, quality: float) -> CodedPoint:
    """Real packets, and what they decode to; samples without data do not count, as in the comparison."""
    stream = scene_stream(encoder, scene, quality=quality)
    decoded = decoder.decode(stream).scene.cube
    original = scene.cube
    if scene.no_data is not None:
        valid = original != scene.no_data
        original, decoded = original[valid][None], decoded[valid][None]
    return CodedPoint(
        quality=quality,
        octets=len(stream),
        compression_ratio=compression_ratio(scene.cube.size, scene.bit_depth, len(stream)),
        psnr_db=psnr(original, decoded, peak),
    )


if __name__ == "__main__":
    sys.exit(main())
