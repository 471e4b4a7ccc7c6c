"""`select-model`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hyvic_runtime.command_line import Result, command_parser, run_command


def select_model(argv: Sequence[str] | None = None) -> int:
    """Rank training runs by BD-PSNR and name the best model."""
    parser = command_parser(
        "select-model",
        "Rank the models of training runs by BD-PSNR (seed paper, eq. 6) and name the best. Runs with equal model "
        "sections are one model: at several λ, or at one variable rate, they make its rate–distortion curve.",
        "select-model runs/s0-* runs/s1-* runs/s2-* --reference runs/s2-1e-4 --out docs/results/ablation",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders that train-model wrote")
    parser.add_argument(
        "--reference",
        type=Path,
        required=True,
        action="append",
        metavar="RUN",
        help="a run of the model to compare with; one that is not among the RUNs cannot be selected and may need more "
        "than one --reference to make a curve",
    )
    parser.add_argument("--metric", choices=("bd-psnr",), default="bd-psnr", help="what to rank by (default: bd-psnr)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the table (CSV, Markdown) and plots (PNG, SVG)")
    return run_command(parser, argv, _select_model, extra="compare")


def _select_model(arguments: argparse.Namespace) -> Result:
    from hyvic_compare.model_selection import select
    from hyvic_compare.selection_report import document_from_selection, text_table, write_selection

    selection = select(arguments.runs, arguments.reference)
    if arguments.out is not None:
        write_selection(selection, arguments.out)
    return document_from_selection(selection), text_table(selection)
