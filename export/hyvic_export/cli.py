"""`export-engine`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.scene.tile_grid import DEFAULT_TILE

if TYPE_CHECKING:
    from hyvic_runtime.families.latent.bundle import LatentManifest


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
    source.add_argument("--checkpoint", type=Path, metavar="DIR", help="what train-model wrote, of any family")
    source.add_argument(
        "--bundle",
        type=Path,
        metavar="BUNDLE",
        help="compile the graphs of this bundle for another target; it stays the same codec, and needs no torch",
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
        "--timing-cache", type=Path, metavar="FILE", help="measurements that tensorrt reads and adds to: builds faster"
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        metavar="PRECISION",
        help="of the analysis: fp32 (default), fp16 or int8; the entropy path is exact in each",
    )
    parser.add_argument(
        "--scene",
        type=Path,
        nargs="+",
        default=[],
        metavar="SCENE",
        help="scenes to calibrate int8 with and to hold the engine against the model on (default: a tile drawn from "
        "the model's prior, which int8 cannot be calibrated with)",
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help=f"side of a tile (default: {DEFAULT_TILE}, of the scene-adaptive family 256)",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing bundle")
    typed = shlex.join([parser.prog, *(sys.argv[1:] if argv is None else argv)])
    return run_command(parser, argv, lambda arguments: _export(arguments, typed), extra="export")


def _export(arguments: argparse.Namespace, command: str) -> Result:
    from hyvic_runtime.families.adaptive.bundle import DEFAULT_TILE as ADAPTIVE_TILE
    from hyvic_runtime.families.adaptive.bundle import AdaptiveManifest
    from hyvic_runtime.families.latent.bundle import BUILD_SCRIPT
    from tqdm import tqdm

    from hyvic_export.precision import Precision
    from hyvic_export.tensorrt.compiled_bundle import Target, TargetName, compiled_bundle

    out: Path = arguments.out
    if out.exists() and not arguments.force:
        raise FileExistsError(17, f"{out} exists; pass --force if it is a bundle to replace")
    if arguments.bundle is not None and arguments.tile is not None:
        raise ValueError("--tile belongs to a checkpoint: a bundle has its tiles")
    precision = Precision.named(arguments.precision)
    if arguments.bundle is not None and (arguments.scene or precision is not Precision.FP32):
        raise ValueError("--precision and --scene belong to a checkpoint: a bundle has its graphs")
    target = Target(
        name=arguments.target, compute_capability=arguments.compute_capability, timing_cache=arguments.timing_cache
    )
    with tqdm(unit="step", disable=None) as bar:

        def progress(what: str) -> None:
            bar.set_description(what)
            bar.update()

        manifest: LatentManifest | AdaptiveManifest
        if arguments.bundle is not None:
            manifest = compiled_bundle(arguments.bundle, out, target, progress=progress, phase=bar.set_postfix_str)
        elif _holds_context_model(arguments.checkpoint):
            from hyvic_export.families.adaptive.exporter import STEPS, adaptive_bundle_from_checkpoint

            for option, used in (
                (f"--target {target.name}", target.name is not TargetName.ONNX),
                (f"--precision {precision}", precision is not Precision.FP32),
            ):
                if used:
                    raise ValueError(
                        f"{option} has no use with model.family adaptive, whose network of integers is never "
                        "compiled and has one precision; leave it out"
                    )
            bar.total = STEPS
            manifest = adaptive_bundle_from_checkpoint(
                arguments.checkpoint,
                out,
                tile=ADAPTIVE_TILE if arguments.tile is None else arguments.tile,
                scenes=arguments.scene,
                command=command,
                progress=progress,
            )
        else:
            from hyvic_export.families.latent.exporter import STEPS, bundle_from_checkpoint

            bar.total = STEPS
            manifest = bundle_from_checkpoint(
                arguments.checkpoint,
                out,
                tile=DEFAULT_TILE if arguments.tile is None else arguments.tile,
                target=target,
                precision=precision,
                scenes=arguments.scene,
                command=command,
                progress=progress,
                phase=bar.set_postfix_str,
            )
    size = sum(f.stat().st_size for f in out.iterdir())
    if isinstance(manifest, AdaptiveManifest):
        codes = f"any bands, tiles of {manifest.tile}"
    else:
        codes = f"{manifest.bands} bands, tiles of {manifest.geometry.tile}"
    engines = manifest.engines
    text = f"{out}: {manifest.family}, {codes}, {size / 1e6:.1f} MB"
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


def _holds_context_model(checkpoint: Path) -> bool:
    from hyvic_train.families.registry import read_run_config

    return read_run_config(checkpoint).model.family == "adaptive"
