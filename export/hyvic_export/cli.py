"""Command `export-engine`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.command_line import Result, command_parser, run_command

if TYPE_CHECKING:
    from hyvic_runtime.codec.bundle import Manifest


def main(argv: Sequence[str] | None = None) -> int:
    """Turn a checkpoint into a deployment bundle; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = command_parser(
        "export-engine",
        "Turn a checkpoint into a deployment bundle: ONNX graphs with an exact integer entropy path, frequency tables, "
        "conformance vectors, and engines for the target.",
        "export-engine --checkpoint checkpoints/hyvic-s-202 --out hyvic.bundle",
        "export-engine --checkpoint checkpoints/hyvic-s-202 --out rtx.bundle --target tensorrt-rtx "
        "--compute-capability 8.6",
        "export-engine --bundle hyvic.bundle --out orin.bundle --target tensorrt",
        "verify-bundle hyvic.bundle",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, metavar="DIR", help="folder that train-model wrote, of any family")
    source.add_argument(
        "--bundle",
        type=Path,
        metavar="BUNDLE",
        help="compile the graphs of this bundle for another target; the codec does not change; needs no torch",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to create")
    parser.add_argument(
        "--target",
        default="onnx",
        metavar="TARGET",
        help="onnx (default): ONNX Runtime anywhere; tensorrt-rtx: engines built here without a GPU; tensorrt: engines "
        "built with this machine's TensorRT, or, where it is missing, what a device needs to build them",
    )
    parser.add_argument(
        "--compute-capability",
        metavar="X.Y",
        help="GPU that tensorrt-rtx builds for, such as 8.6 (default: all from 8.0)",
    )
    parser.add_argument(
        "--timing-cache",
        type=Path,
        metavar="FILE",
        help="file of measurements that tensorrt reads and extends, to build faster",
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        metavar="PRECISION",
        help="precision of the analysis: fp32 (default), fp16 or int8; the entropy path is always exact",
    )
    parser.add_argument(
        "--scene",
        type=Path,
        nargs="+",
        default=[],
        metavar="SCENE",
        help="scenes to calibrate int8 with, and to compare the engine with the model on (default: a tile drawn from "
        "the model's prior, which cannot calibrate int8)",
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="side of a tile (default: 128; scene-adaptive family: 256)",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing bundle")
    typed = shlex.join([parser.prog, *(sys.argv[1:] if argv is None else argv)])
    return run_command(parser, argv, lambda arguments: _export(arguments, typed), extra="export")


def _export(arguments: argparse.Namespace, command: str) -> Result:
    from hyvic_runtime.families.latent.bundle import BUILD_SCRIPT
    from tqdm import tqdm

    from hyvic_export.precision import Precision
    from hyvic_export.tensorrt.compiled_bundle import Target, TargetName, compiled_bundle

    out: Path = arguments.out
    if out.exists() and not arguments.force:
        raise FileExistsError(17, f"{out} exists; pass --force if it is a bundle to replace")
    if arguments.bundle is not None and arguments.tile is not None:
        raise ValueError("--tile belongs to a checkpoint: a bundle has its tiles")
    precision = Precision(arguments.precision)
    if arguments.bundle is not None and (arguments.scene or precision is not Precision.FP32):
        raise ValueError("--precision and --scene belong to a checkpoint: a bundle has its graphs")
    target = Target(
        name=arguments.target, compute_capability=arguments.compute_capability, timing_cache=arguments.timing_cache
    )
    with tqdm(unit="step", disable=None) as bar:

        def progress(what: str) -> None:
            bar.set_description(what)
            bar.update()

        manifest: Manifest
        if arguments.bundle is not None:
            manifest = compiled_bundle(arguments.bundle, out, target, progress=progress, phase=bar.set_postfix_str)
        else:
            from hyvic_export.exporter import STEPS, bundle_from_checkpoint

            bar.total = STEPS
            manifest = bundle_from_checkpoint(
                arguments.checkpoint,
                out,
                tile=arguments.tile,
                target=target,
                precision=precision,
                scenes=arguments.scene,
                command=command,
                progress=progress,
                phase=bar.set_postfix_str,
            )
    size = sum(f.stat().st_size for f in out.iterdir())
    bands = "any" if manifest.bands is None else manifest.bands
    engines = manifest.engines
    text = f"{out}: {manifest.family}, {bands} bands, tiles of {manifest.geometry.tile}, {size / 1e6:.1f} MB"
    if engines is not None:
        text += f"; engines of {engines.library} {engines.library_version} for {engines.compute_capability}"
    to_do = None
    if target.name is TargetName.TENSORRT and engines is None:
        to_do = f"copy {out} to the device and run its {BUILD_SCRIPT} there ({target.obstacle})"
        text += f", without engines: {to_do}"
    result = {
        "bundle": str(out),
        "octets": size,
        "files": manifest.pinned,
        "engines": None
        if engines is None
        else {
            "library": engines.library,
            "version": engines.library_version,
            "compute_capability": engines.compute_capability,
        },
        "to_do": to_do,
        "provenance": manifest.provenance,
    }
    return result, text
