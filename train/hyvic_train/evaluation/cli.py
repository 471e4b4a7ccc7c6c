"""`evaluate-model`."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.command_line import Result, command_parser, run_command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hyvic_train.config import DataConfig
    from hyvic_train.data.cubes import TrainingCube
    from hyvic_train.evaluation.codecs import Codec
    from hyvic_train.evaluation.report import Row

PARTS = ("train", "val", "test")
QUALITIES = (0.0, 25.0, 50.0, 75.0, 100.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate codecs on one part of a data set; 0 done, 1 failed with one line, 2 wrong usage, 130 interrupted."""
    parser = command_parser(
        "evaluate-model",
        "Measure trained models and bundles on one part of a data set: CR, PSNR, SSIM and spectral angle of patches.",
        "evaluate-model runs/grid/* --data hyspecnet-11k --split test --out evaluation/",
        "evaluate-model hyvic.bundle --data hyspecnet-11k --dataset hyspecnet-11k --quality 0 50 100 --out evaluation/",
    )
    parser.add_argument(
        "codec",
        type=Path,
        nargs="+",
        metavar="RUN|BUNDLE",
        help="folder of train-model, rated by its entropy model; or of export-engine, rated by its streams",
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR", help="data set, or scenes")
    parser.add_argument("--split", choices=PARTS, default="test", help="part to measure (default: test)")
    parser.add_argument(
        "--dataset",
        choices=("scenes", "hyspecnet-11k", "mlretset"),
        help="kind of data; needed if only bundles are named (default: the first run's)",
    )
    parser.add_argument(
        "--quality",
        type=float,
        nargs="+",
        default=QUALITIES,
        metavar="Q",
        help=f"qualities of bundles (default: {' '.join(f'{q:g}' for q in QUALITIES)}); runs are measured at their λ",
    )
    parser.add_argument(
        "--show",
        nargs="+",
        default=(),
        metavar="PATCH",
        help="also draw these patches before and after coding: a name or a pattern, '*_X00000384'",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="measure the first N patches alone")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of tables and plots; what it holds already is not measured again",
    )
    return run_command(parser, argv, _evaluate, extra="train")


def _evaluate(arguments: argparse.Namespace) -> Result:
    from dataclasses import replace

    from tqdm import tqdm

    from hyvic_train.data.data_set import read_part
    from hyvic_train.data.measured import middle
    from hyvic_train.evaluation.codecs import codec_of
    from hyvic_train.evaluation.measures import measured
    from hyvic_train.evaluation.report import ROWS, Row, opened_rows

    if arguments.limit is not None and arguments.limit < 1:
        raise ValueError(f"--limit is {arguments.limit}; at least one patch is needed")
    codecs = [codec_of(folder, arguments.quality) for folder in arguments.codec]
    data = replace(_data_config(codecs, arguments.dataset), remove_mean_spectrum=False)
    needs = _Needs(codecs)
    patches = read_part(arguments.data, data, needs, arguments.split)[: arguments.limit]
    if not patches:
        raise ValueError(f"{arguments.split} holds no patch")
    for pattern in arguments.show:
        if not any(fnmatchcase(patch.name, pattern) for patch in patches):
            raise ValueError(f"--show {pattern} names none of the {len(patches)} patches, such as {patches[0].name}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (
        opened_rows(arguments.out / ROWS) as rows,
        tqdm(total=len(patches) * len(codecs), unit="patch", disable=None) as bar,
    ):
        for patch in patches:
            lacking = [(codec, points) for codec in codecs if (points := rows.lacks(codec, patch.name))]
            cube = middle(patch.cube, needs.cell) if lacking else None
            for codec, points in lacking:
                assert cube is not None
                assert patch.read_sha256 is not None
                for point, (bits, reconstruction) in zip(points, codec.coded(cube, points), strict=True):
                    measures = measured(cube, reconstruction, bits, codec.peak)
                    rows.add(
                        Row(
                            codec=codec.name,
                            kind=codec.kind,
                            sha256=codec.sha256,
                            point=point,
                            patch=patch.name,
                            patch_sha256=patch.read_sha256,
                            pixels=cube[0].size,
                            measures=measures,
                        )
                    )
                bar.update()
            bar.update(len(codecs) - len(lacking))
        names = {patch.name for patch in patches}
        found = [row for row in rows.known if row.patch in names]
    return _written(arguments, data, codecs, patches, found, needs.cell)


class _Needs:
    """Needs of all codecs together, as a model's section states them.

    Attributes:
        family: name for messages.
        bands: number of bands.
        cell: side that lines and samples must be multiples of.
    """

    family = "evaluation"

    def __init__(self, codecs: Sequence[Codec]) -> None:
        bands = {codec.bands for codec in codecs if codec.bands is not None}
        if len(bands) > 1:
            raise ValueError(f"the codecs have {' and '.join(map(str, sorted(bands)))} bands; evaluate them apart")
        self.bands = bands.pop() if bands else None
        self.cell = math.lcm(*(codec.cell for codec in codecs))


def _data_config(codecs: Sequence[Codec], dataset: str | None) -> DataConfig:
    from hyvic_train.config import DataConfig
    from hyvic_train.evaluation.codecs import CheckpointCodec

    for codec in codecs:
        if isinstance(codec, CheckpointCodec) and dataset in (None, codec.data.dataset):
            return codec.data
    if dataset is None:
        raise ValueError("only bundles are named, which do not say what they are measured on; name --dataset")
    return DataConfig(dataset=dataset, crop=1, split="random" if dataset == "mlretset" else None)  # type: ignore[arg-type]


def _written(
    arguments: argparse.Namespace,
    data: DataConfig,
    codecs: Sequence[Codec],
    patches: Sequence[TrainingCube],
    rows: Sequence[Row],
    cell: int,
) -> Result:
    """Write summary and plots."""
    from hyvic_runtime.codec.seen_scenes import Seen
    from hyvic_runtime.support.atomic_file import replacing

    from hyvic_train.data.measured import middle
    from hyvic_train.data.patch_set import first_few
    from hyvic_train.evaluation.examples import examples, picture_figure, spectra_figure
    from hyvic_train.evaluation.report import (
        BITS_PER_SAMPLE,
        CURVES,
        NAMED_CODECS,
        ROWS,
        curve_figure,
        distribution_figure,
        write_summary,
    )
    from hyvic_train.families.latent.figures import true_colour

    out = arguments.out
    by_name = {patch.name: patch for patch in patches}
    in_part = {row.patch for row in rows if row.pixels < math.prod(by_name[row.patch].size)}
    head = {"dataset": data.dataset, "split": data.split, "part": arguments.split, "patches": len(patches)}
    distributions = len(codecs) <= NAMED_CODECS
    head |= {"patches_measured_in_part": len(in_part), "distributions_drawn": distributions}
    document = write_summary(out, head, codecs, rows)

    def picture_of(name: str) -> NDArray[np.float32]:
        cube = by_name[name].cube
        return true_colour(cube, data.wavelengths, stretched_as=cube)

    figures = {f"{name}-{bits}": curve_figure(document, name, bits) for name in CURVES for bits in BITS_PER_SAMPLE}
    for codec in codecs if distributions else ():
        for point in codec.points:
            figures[f"distribution-{codec.name}-{point.label}"] = distribution_figure(rows, codec, point, picture_of)
    for patch in patches:
        if any(fnmatchcase(patch.name, pattern) for pattern in arguments.show):
            cube = middle(patch.cube, cell)
            found = list(examples(cube, codecs))
            figures[f"patch-{patch.name}-true-colour"] = picture_figure(patch.name, cube, found, data.wavelengths)
            figures[f"patch-{patch.name}-spectra"] = spectra_figure(patch.name, cube, found, data.wavelengths)
    for name, figure in figures.items():
        file = re.sub(r"[^\w.=-]+", "-", name)
        with replacing(out / f"{file}.svg") as (partial,):
            figure.savefig(partial, format="svg")
    lines = [f"{out}: {len(patches)} patches of {data.dataset}, {arguments.split}"]
    if in_part:
        lines.append(
            f"{len(in_part)} of them are measured in part, for no-data or their size: {ROWS} says how many pixels"
        )
    if not distributions:
        lines.append(f"no distributions are drawn of {len(codecs)} codecs; name at most {NAMED_CODECS}, and they are")
    for codec, entry in zip(codecs, document["codecs"], strict=True):
        counts = ", ".join(f"{len(names)} {answer}" for answer, names in entry["training"].items() if names)
        lines.append(f"{codec.name} ({codec.kind}), in its training by content hash: {counts}")
        if seen := entry["training"][Seen.TRAINED]:
            lines.append(f"{codec.name} ({codec.kind}) WAS TRAINED ON {first_few(seen)}: expect less on other patches")
        for point, result in zip(codec.points, entry["points"], strict=True):
            ratio, decibels = result["compression_ratio"], result["psnr_db"]
            psnr = "exact" if decibels["mean"] is None else f"{decibels['mean']:.2f} ± {decibels['deviation']:.2f} dB"
            lines.append(
                f"{codec.name} ({codec.kind}), {point.label}: {result['rate_bpppc']['mean']:.4f} bpppc, "
                f"CR {ratio['16']['of_mean_rate']:.1f} of 16 bits ({ratio['32']['of_mean_rate']:.1f} of 32), "
                f"PSNR {psnr}, "
                f"SSIM {result['ssim_gaussian']['mean']:.4f} ({result['ssim_uniform']['mean']:.4f} uniform), "
                f"SA {result['spectral_angle_deg']['mean']:.2f}°"
            )
    return document, "\n  ".join(lines)
