"""`export-engine`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

EXAMPLE = """example:
  export-engine --checkpoint checkpoints/hyvic-s-202 --out hyvic.bundle
  verify-bundle hyvic.bundle
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Turn a checkpoint into a deployment bundle; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="export-engine",
        description="Turn a checkpoint into a deployment bundle: ONNX graphs with an exact integer entropy path, "
        "frequency tables and conformance vectors.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="what train-model wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to create")
    parser.add_argument("--tile", type=int, default=128, metavar="PIXELS", help="side of a tile (default: 128)")
    parser.add_argument("--force", action="store_true", help="replace an existing bundle")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    arguments = parser.parse_args(argv)

    from hyvic_runtime.bundle import MANIFEST
    from hyvic_runtime.errors import HyvicError
    from hyvic_train.checkpoint import CheckpointError
    from tqdm import tqdm

    out: Path = arguments.out
    try:
        if out.exists() and not (arguments.force and (out / MANIFEST).is_file()):
            remedy = "pass --force to replace it" if (out / MANIFEST).is_file() else "it is no bundle; name another"
            raise ValueError(f"{out} exists; {remedy}")
        from hyvic_export.exporter import bundle_from_checkpoint

        with tqdm(total=5, unit="step", disable=None) as bar:

            def progress(what: str) -> None:
                bar.set_description(what)
                bar.update()

            manifest = bundle_from_checkpoint(
                arguments.checkpoint,
                out,
                tile=arguments.tile,
                command=shlex.join(["export-engine", *(sys.argv[1:] if argv is None else argv)]),
                progress=progress,
            )
    except (HyvicError, CheckpointError, ValueError, OSError) as error:
        print(f"export-engine: {error}", file=sys.stderr)
        return 1
    size = sum(f.stat().st_size for f in out.iterdir())
    if arguments.json:
        result = {"bundle": str(out), "octets": size, "files": manifest.files, "provenance": manifest.provenance}
        print(json.dumps(result))
    else:
        print(
            f"{out}: {manifest.family}, {manifest.bands} bands, tiles of {manifest.geometry.tile}, {size / 1e6:.1f} MB"
        )
    return 0
