"""Lossless bits per sample of scenes, as a Markdown table.

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
from ccsds123.codec import Cube, compress, decompress
from ccsds123.parameter_files import CODER_NAMES
from ccsds123.parameters import BlockAdaptive, Hybrid, Parameters, SampleAdaptive
from hyvic_runtime.errors import HyvicError
from hyvic_runtime.scene.files import read_scene

CODERS = (SampleAdaptive(), Hybrid(), BlockAdaptive())

INTRODUCTION = """# CCSDS 123.0-B-2, lossless

Bits per sample of whole files, header included, by `python -m studies.lossless_table SCENE...` with
hyvic-onboard {version}. Each file was decompressed and compared with the scene. Default parameters: band-sequential
order, P = 3, full prediction mode, wide neighbor-oriented local sums, Ω = 19, R = 64, ν −1 to 3, t_inc = 64;
U_max = 18, γ* = 6, γ0 = 1; J = 32. D is the width of the scene's integers, whatever range they use.
"""


def table(paths: Sequence[Path]) -> str:
    """The document for these scenes, in their order."""
    names = [CODER_NAMES[type(coder)] for coder in CODERS]
    rows = [
        f"| scene | lines × samples × bands | D | {' | '.join(names)} |",
        "| --- | --- | ---: |" + " ---: |" * len(names),
    ]
    rates = []
    for path in paths:
        cube = read_scene(path).cube
        rates.append([_bits_per_sample(cube, coder) for coder in CODERS])
        shape = " × ".join(map(str, cube.shape))
        signed = ", signed" if cube.dtype.kind == "i" else ""
        rows.append(_row(path.stem, f"{shape} | {8 * cube.dtype.itemsize}{signed}", rates[-1]))
    rows.append(_row("mean", " | ", np.mean(rates, axis=0).tolist()))
    return INTRODUCTION.format(version=version("hyvic-onboard")) + "\n" + "\n".join(rows)


def _row(name: str, facts: str, rates: list[float]) -> str:
    return f"| {name} | {facts} | " + " | ".join(f"{rate:.3f}" for rate in rates) + " |"


def _bits_per_sample(cube: Cube, coder: SampleAdaptive | Hybrid | BlockAdaptive) -> float:
    parameters = Parameters(signed=cube.dtype.kind == "i", dynamic_range=8 * cube.dtype.itemsize, entropy_coder=coder)
    octets = compress(cube, parameters)
    if not np.array_equal(decompress(octets), cube):
        raise RuntimeError(f"{CODER_NAMES[type(coder)]}: the scene did not come back")
    return 8 * len(octets) / cube.size


def main(argv: Sequence[str] | None = None) -> int:
    """Print the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="+", metavar="SCENE")
    try:
        sys.stdout.write(table(parser.parse_args(argv).scenes) + "\n")
    except (HyvicError, ValueError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
