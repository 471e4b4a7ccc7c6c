"""Size and arithmetic of a bundle's graphs, counted from the graphs themselves, whatever the model family.

python -m studies.complexity_table BUNDLE...
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from hyvic_runtime.families.latent.bundle import ENCODER, graph_names, read_latent_bundle
from onnx import numpy_helper

from studies import harness
from studies.roofline import graph_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """Size and arithmetic of one side of a link.

    Attributes:
        parameters: constants of its graphs that are not zero: weights, and the few integers that requantise.
        macs_a_sample: multiply–accumulates of a tile and its halo, over the samples of the tile.
        macs_a_sample_nonzero: multiply–accumulates whose weight is not zero. Convolutions along the bands are products
            with matrices of three diagonals, and transposed convolutions leave taps of their sub-pixel form empty.
    """

    parameters: int
    macs_a_sample: float
    macs_a_sample_nonzero: float


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = harness.study_parser(
        "complexity_table",
        "Parameters and multiply–accumulates of the graphs of a bundle's encoder and decoder.",
        "hyvic.bundle joint.bundle",
        out=False,
    )
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="bundles that export-engine wrote")
    return harness.run_study(parser, argv, _study, extra="export")


def _study(arguments: argparse.Namespace) -> harness.Findings:
    sides = {str(folder): bundle_complexity(folder) for folder in arguments.bundles}
    rows = (
        (folder, side, *(f"{count:,.0f}" for count in asdict(complexity).values()))
        for folder, both in sides.items()
        for side, complexity in both.items()
    )
    headings = ("bundle", "side", "parameters", "MACs a sample", "with weights that are not zero")
    document = {
        folder: {side: asdict(complexity) for side, complexity in both.items()} for folder, both in sides.items()
    }
    return harness.Findings(document=document, text=harness.table(headings, rows, words=2))


def bundle_complexity(folder: Path) -> dict[str, Complexity]:
    """Count the encoder's graph, and the decoder's graphs: hyper-decoder, slices, decoder."""
    manifest = read_latent_bundle(folder).manifest
    samples = manifest.geometry.tile**2 * manifest.bands
    decoding = [name for name in graph_names(manifest.slices) if name != ENCODER]
    return {
        side: _complexity([onnx.load(folder / name) for name in names], samples)
        for side, names in (("encoder", [ENCODER]), ("decoder", decoding))
    }


def _complexity(graphs: Sequence[onnx.ModelProto], samples: int) -> Complexity:
    operators = [operator for graph in graphs for operator in graph_cost(graph).operators]
    constants = [numpy_helper.to_array(constant) for graph in graphs for constant in graph.graph.initializer]
    macs, zeros = (sum(getattr(operator, name) for operator in operators) for name in ("macs", "zeros"))
    return Complexity(
        parameters=sum(int(np.count_nonzero(constant)) for constant in constants),
        macs_a_sample=macs / samples,
        macs_a_sample_nonzero=(macs - zeros) / samples,
    )


if __name__ == "__main__":
    sys.exit(main())
