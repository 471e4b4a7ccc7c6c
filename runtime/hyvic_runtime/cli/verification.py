"""The command `verify-bundle`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hyvic_runtime.cli.options import add_engine_option, engine_of, kernels_of
from hyvic_runtime.command_line import Result, command_parser, run_command


def verify_bundle(argv: Sequence[str] | None = None) -> int:
    """Check the files of a bundle, and that the engine of this machine computes its entropy path exactly."""
    parser = command_parser(
        "verify-bundle",
        "Check every octet of a bundle, and that the engine of this machine computes its entropy path exactly.",
        "verify-bundle hyvic.bundle",
        "verify-bundle hyvic.bundle --scene scene.npz",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--scene",
        type=Path,
        nargs="+",
        default=[],
        metavar="SCENE",
        help="say whether the model was trained on scenes with the same pixels: seen, validation, not seen or unknown",
    )
    add_engine_option(parser)
    return run_command(parser, argv, _verify_bundle)


def _verify_bundle(arguments: argparse.Namespace) -> Result:
    from hyvic_runtime.codec.conformance import check_coder
    from hyvic_runtime.codec.seen_scenes import seen_scenes_of
    from hyvic_runtime.families.registry import read_bundle, verify
    from hyvic_runtime.kernels import chosen_kernels
    from hyvic_runtime.scene.content_hash import content_sha256
    from hyvic_runtime.scene.files import read_scene

    bundle = read_bundle(arguments.bundle)
    known = seen_scenes_of(bundle)
    hashes = {str(path): content_sha256(read_scene(path).cube) for path in arguments.scene}
    answers = {path: known.answer(sha256) for path, sha256 in hashes.items()}
    kernels = kernels_of(arguments)
    verified = verify(bundle, engine_of(arguments), kernels)
    coder = bundle.entropy_coder(kernels)
    check_coder(bundle, coder)
    result = {
        "bundle": str(arguments.bundle),
        "identity": bundle.identity.hex(),
        "family": bundle.manifest.family,
        **verified.facts,
        "engine": verified.engine,
        "entropy_coder": coder.describe(),
        "kernels": chosen_kernels(kernels),
        "conformance_vectors": len(bundle.manifest.conformance),
        "expected_outputs": verified.expected,
        "compiled": None if bundle.manifest.engines is None else asdict(bundle.manifest.engines),
        "provenance": bundle.manifest.provenance,
        "training_data": {
            "training": len(known.training),
            "validation": len(known.validation),
            "complete": known.complete,
        },
        "scenes": {path: {"sha256": hashes[path], "training": answer} for path, answer in answers.items()},
    }
    vectors, share = len(bundle.manifest.conformance), verified.expected_share
    symbols = "" if share is None else f" and {share:.2%} of the expected symbols"
    text = (
        f"{arguments.bundle}: intact; {verified.engine} computes all {vectors} conformance vectors "
        f"exactly{symbols}, and {coder.describe()} codes every symbol of its tables as the exporter did; "
        f"{chosen_kernels(kernels)} kernels"
    )
    return result, "\n".join([text, *(f"{path}: {answer.sentence}" for path, answer in answers.items())])
