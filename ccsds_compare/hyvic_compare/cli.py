"""`compare-codecs` and `select-model`."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.command_line import Result, command_parser, run_command

if TYPE_CHECKING:
    from hyvic_compare.codec_choice import AnyCodec
    from hyvic_compare.results import Measurement

DEFAULT_RATIOS = tuple(float(2**power) for power in range(3, 11))


def compare_codecs(argv: Sequence[str] | None = None) -> int:
    """Compare codecs on scenes, and write a report."""
    parser = command_parser(
        "compare-codecs",
        "Code scenes with classical codecs and bundles at several compression ratios, and write a report that opens in "
        "a browser. Every stream is real, with all that its decoder needs. A second call measures only what is new.",
        "compare-codecs scene.tif --report out",
        "compare-codecs scenes/*.npz --bundle adaptive.bundle --report out",
        "compare-codecs scenes/*.npz --bundle hyvic.bundle adaptive.bundle --resample --ratios 16,64,256 --report out",
        "compare-codecs --codecs list",
    )
    parser.add_argument("scenes", type=Path, nargs="*", metavar="SCENE", help=".npz .npy .hdr .tif .h5 .he5 or .mat")
    parser.add_argument(
        "--codecs",
        type=_words,
        default=(),
        metavar="NAME,...",
        help="codecs to compare (default: all; 'list' prints their names)",
    )
    parser.add_argument(
        "--ratios",
        type=_ratios,
        default=DEFAULT_RATIOS,
        metavar="R,...",
        help="target compression ratios (default: 8,16,...,1024)",
    )
    parser.add_argument("--bundle", type=Path, nargs="+", default=[], help="bundles that export-engine wrote")
    parser.add_argument(
        "--resample",
        action="store_true",
        help="interpolate scenes, for all codecs, to the band centres of the first bundle that has any, if the scenes "
        "cover them",
    )
    parser.add_argument(
        "--facts",
        type=Path,
        metavar="FACTS.json",
        help="sensor, wavelengths and no-data by scene name, and scenes that models were trained on beside those that "
        "their bundles list",
    )
    parser.add_argument(
        "--peak", type=float, help="largest digital number, for PSNR (default: 10,000; for 8-bit scenes 255)"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder that keeps measurements (default: beside the report, DIR.cache)",
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="address of a Dask cluster (default: the cores of this machine)"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="folder to write")
    return run_command(parser, argv, lambda arguments: _compare(parser, arguments, argv), extra="compare")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _ratios(text: str) -> tuple[float, ...]:
    try:
        ratios = sorted({float(word) for word in _words(text)})
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of numbers such as 16,32") from error
    if not ratios or not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        raise argparse.ArgumentTypeError(f"'{text}' must hold positive numbers only")
    return tuple(ratios)


def _compare(parser: argparse.ArgumentParser, arguments: argparse.Namespace, argv: Sequence[str] | None) -> Result:
    from hyvic_compare.codec_choice import CODECS, chosen_codecs

    if arguments.codecs == ("list",):
        return {"codecs": list(CODECS)}, "\n".join(f"{name:36}{codec.name}" for name, codec in CODECS.items())
    if not arguments.scenes or arguments.report is None:
        parser.error("SCENE and --report are needed")
    if arguments.resample and not arguments.bundle:
        parser.error("--resample needs a --bundle that has the wanted bands")
    if arguments.peak is not None and not (math.isfinite(arguments.peak) and arguments.peak > 0):
        parser.error("--peak must be a positive number")

    from hyvic_runtime.support.atomic_file import check_replaceable

    from hyvic_compare.comparison import Plan, compare
    from hyvic_compare.comparison_report import CONTENTS, write_comparison_report
    from hyvic_compare.measurement_cache import MeasurementCache
    from hyvic_compare.report.summary import count_text
    from hyvic_compare.scene_facts import Facts, read_facts
    from hyvic_compare.scene_source import SceneSource
    from hyvic_compare.training_part import training_remarks

    codecs = chosen_codecs(arguments.codecs, arguments.bundle)
    facts = Facts() if arguments.facts is None else read_facts(arguments.facts)
    bands = _bands(codecs) if arguments.resample else None
    report = arguments.report.resolve()
    check_replaceable(report, CONTENTS)
    folder = arguments.cache or report.with_name(f"{report.name}.cache")
    if report in (folder.resolve(), *folder.resolve().parents):
        raise ValueError(f"--cache {folder} lies in the report, which is replaced as a whole; name a folder elsewhere")
    plan = Plan(
        sources=tuple(
            SceneSource(path=p.resolve(), facts=facts.of_scene(p.stem), bands=bands) for p in arguments.scenes
        ),
        codecs=codecs,
        ratios=arguments.ratios,
        peak=arguments.peak,
        facts=facts,
    )
    cache = MeasurementCache(folder=folder)
    words = sys.argv[1:] if argv is None else argv
    command = shlex.join((parser.prog, *words))
    outcome = compare(plan, cache, scheduler=arguments.scheduler, command=command)
    write_comparison_report(report, outcome.comparison)
    points = outcome.comparison.measurements
    gaps = sum(point.gap is not None for point in points)
    remarks = tuple(
        training_remarks(codecs, {scene.name: scene.content_sha256 for scene in outcome.comparison.scenes}, facts)
    )
    result = {
        "report": str(arguments.report),
        "cache": str(cache.folder),
        "coded": outcome.coded,
        "gaps": gaps,
        "remarks": remarks,
        "measurements": [_row(point) for point in points],
    }
    text = (
        f"{arguments.report}: {count_text(len(points), 'point')} of {count_text(len(codecs), 'codec')} on "
        f"{count_text(len(plan.sources), 'scene')}, {outcome.coded:,} of them measured now, {count_text(gaps, 'gap')}"
    )
    return result, "\n".join([text, *remarks])


def _bands(codecs: Sequence[AnyCodec]) -> tuple[float, ...]:
    """Return the band centres of the first bundle that has any; a scene-adaptive bundle codes any bands."""
    from hyvic_compare.codecs.bundle_codec import BundleCodec

    centres = [codec.wavelengths for codec in codecs if isinstance(codec, BundleCodec) and codec.wavelengths]
    if not centres:
        raise ValueError("no --bundle has band centres, so nothing can be resampled to them; leave --resample out")
    return centres[0]


def _row(point: Measurement) -> dict[str, str | float | None]:
    """Return the figures that fit a line; an exact reconstruction has no PSNR."""
    fidelity = point.fidelity
    return {
        "scene": point.scene,
        "codec": point.codec,
        "target_ratio": point.target_ratio,
        "octets": point.octets,
        "compression_ratio": point.compression_ratio,
        "psnr_db": None if fidelity is None or math.isinf(fidelity.psnr_db) else fidelity.psnr_db,
        "max_abs_error": None if fidelity is None else fidelity.max_abs_error,
        "training": point.training,
        "gap": point.gap,
    }


def select_model(argv: Sequence[str] | None = None) -> int:
    """Rank training runs by BD-PSNR and name the best model."""
    parser = command_parser(
        "select-model",
        "Rank the models of training runs by BD-PSNR (seed paper, eq. 6) and name the best. Runs with equal model "
        "sections are one model: at several λ, or at one variable rate, they make its rate–distortion curve.",
        "select-model runs/s0-* runs/s1-* runs/s2-* --reference runs/s2-1e-4 --out docs/results/ablation",
        "select-model runs/grid/* --evaluation evaluation/ --reference hycass.csv --reference-bits 32 --out report/",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders that train-model wrote")
    parser.add_argument(
        "--reference",
        type=Path,
        required=True,
        action="append",
        metavar="RUN|CSV",
        help="a run of the model to compare with; one that is not among the RUNs cannot be selected and may need more "
        "than one --reference to make a curve. Or a published curve: a CSV file with the columns codec, "
        "compression_ratio, psnr_db and bits_per_sample (the bits of a sample that the ratio counts; ratios are "
        "converted to those of the RUNs, 16)",
    )
    parser.add_argument(
        "--reference-bits",
        type=_bits,
        metavar="N",
        help="bits of a sample that the ratios of a CSV file count where it has no bits_per_sample; the papers of "
        "HyCoT and HyCASS count 32",
    )
    parser.add_argument(
        "--evaluation",
        type=Path,
        metavar="DIR",
        help="folder that evaluate-model wrote: take rate and PSNR from it, not from the last validation, and plot "
        "SSIM and spectral angle too",
    )
    parser.add_argument(
        "--metric",
        choices=("bd-psnr", "bd-psnr-log-cr"),
        default="bd-psnr",
        help="what to rank by: the mean gap over the compression ratio, as eq. 6 has it (default), or over its "
        "logarithm, as Bjøntegaard has it; both are in the table",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the table (CSV, Markdown) and plots (PNG, SVG)")
    return run_command(parser, argv, _select_model, extra="compare")


def _bits(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of bits from 1 to 64")
    return int(text)


def _select_model(arguments: argparse.Namespace) -> Result:
    from hyvic_compare.model_selection import select
    from hyvic_compare.selection_report import document_from_selection, text_table, write_selection

    selection = select(
        arguments.runs,
        arguments.reference,
        metric=arguments.metric,
        evaluation=arguments.evaluation,
        reference_bits=arguments.reference_bits,
    )
    if arguments.out is not None:
        write_selection(selection, arguments.out)
    return document_from_selection(selection), text_table(selection)
