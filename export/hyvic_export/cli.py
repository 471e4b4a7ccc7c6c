"""`export-engine`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.tile_grid import DEFAULT_TILE


def main(argv: Sequence[str] | None = None) -> int:
    """Turn a checkpoint into a deployment bundle; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = command_parser(
        "export-engine",
        "Turn a checkpoint into a deployment bundle: ONNX graphs with an exact integer entropy path, frequency tables "
        "and conformance vectors.",
        "export-engine --checkpoint checkpoints/hyvic-s-202 --out hyvic.bundle",
        "verify-bundle hyvic.bundle",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="what train-model wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to create")
    parser.add_argument(
        "--tile", type=int, default=DEFAULT_TILE, metavar="PIXELS", help=f"side of a tile (default: {DEFAULT_TILE})"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing bundle")
    typed = shlex.join([parser.prog, *(sys.argv[1:] if argv is None else argv)])
    return run_command(parser, argv, lambda arguments: _export(arguments, typed), extra="export")


def _export(arguments: argparse.Namespace, command: str) -> Result:
    from tqdm import tqdm

    from hyvic_export.exporter import STEPS, bundle_from_checkpoint

    out: Path = arguments.out
    if out.exists() and not arguments.force:
        raise FileExistsError(17, f"{out} exists; pass --force if it is a bundle to replace")
    with tqdm(total=STEPS, unit="step", disable=None) as bar:

        def progress(what: str) -> None:
            bar.set_description(what)
            bar.update()

        manifest = bundle_from_checkpoint(
            arguments.checkpoint, out, tile=arguments.tile, command=command, progress=progress
        )
    size = sum(f.stat().st_size for f in out.iterdir())
    tile = manifest.geometry.tile
    result = {"bundle": str(out), "octets": size, "files": manifest.files, "provenance": manifest.provenance}
    return result, f"{out}: {manifest.family}, {manifest.bands} bands, tiles of {tile}, {size / 1e6:.1f} MB"
