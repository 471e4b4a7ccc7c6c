"""Lossless bits per sample of scenes, as a Markdown page.

    python -m studies.lossless_table SCENE... > docs/results/ccsds123-lossless.md

Every scene is compressed as it is, with the default parameters and each entropy coder, decompressed and compared. D is
the width of the scene's integers, 8 or 16.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ccsds123 import ENTROPY_CODERS, EntropyCoder, Parameters, compress, decompress
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import Cube

from studies import harness

INTRODUCTION = """# CCSDS 123.0-B-2, lossless

Bits per sample of whole files, header included, with hyvic-onboard {version}, by
`PYTHONPATH=ccsds_compare python -m studies.lossless_table SCENE...`. Each
file was decompressed and compared with the scene. Default parameters: band-sequential
order, P = 3, full prediction mode, wide neighbor-oriented local sums, Ω = 19, R = 64, ν −1 to 3, t_inc = 64;
U_max = 18, γ* = 6, γ0 = 1; J = 32. D is the width of the scene's integers, whatever range they use.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the page; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = harness.study_parser(
        "lossless_table",
        "Bits per sample of scenes with CCSDS 123.0-B-2 without loss, for each entropy coder.",
        "scene.npz > docs/results/ccsds123-lossless.md",
        out=False,
    )
    parser.add_argument("scenes", type=Path, nargs="+", metavar="SCENE", help=".npz .npy .hdr .tif .h5 .he5 or .mat")
    return harness.run_study(parser, argv, _study)


def _study(arguments: argparse.Namespace) -> harness.Findings:
    coders = [coder() for coder in ENTROPY_CODERS]
    rates: list[list[float]] = []
    rows = []
    for path in arguments.scenes:
        cube = read_scene(path).cube
        rates.append([_bits_per_sample(cube, coder) for coder in coders])
        signed = ", signed" if cube.dtype.kind == "i" else ""
        facts = (path.stem, harness.shape_text(cube.shape), f"{8 * cube.dtype.itemsize}{signed}")
        rows.append([*facts, *_texts(rates[-1])])
    rows.append(["mean", "", "", *_texts(np.mean(rates, axis=0).tolist())])
    headings = ("scene", "lines × samples × bands", "D", *(coder.name for coder in coders))
    text = INTRODUCTION.format(version=version("hyvic-onboard")) + "\n" + harness.table(headings, rows, words=2)
    document = {"bits_per_sample": {row[0]: own for row, own in zip(rows, rates, strict=False)}}
    return harness.Findings(document=document, text=text)


def _texts(rates: Sequence[float]) -> list[str]:
    return [f"{rate:.3f}" for rate in rates]


def _bits_per_sample(cube: Cube, coder: EntropyCoder) -> float:
    parameters = Parameters(signed=cube.dtype.kind == "i", dynamic_range=8 * cube.dtype.itemsize, entropy_coder=coder)
    octets = compress(cube, parameters)
    if not np.array_equal(decompress(octets), cube):
        raise RuntimeError(f"{coder.name}: the scene did not come back")
    return 8 * len(octets) / cube.size


if __name__ == "__main__":
    sys.exit(main())
