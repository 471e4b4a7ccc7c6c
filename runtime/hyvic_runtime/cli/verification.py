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
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    add_engine_option(parser)
    return run_command(parser, argv, _verify_bundle)


def _verify_bundle(arguments: argparse.Namespace) -> Result:
    from hyvic_runtime.codec.conformance import check_coder
    from hyvic_runtime.families.registry import read_bundle, verify
    from hyvic_runtime.kernels import chosen_kernels

    bundle = read_bundle(arguments.bundle)
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
    }
    vectors, share = len(bundle.manifest.conformance), verified.expected_share
    symbols = "" if share is None else f" and {share:.2%} of the expected symbols"
    return result, (
        f"{arguments.bundle}: intact; {verified.engine} computes all {vectors} conformance vectors "
        f"exactly{symbols}, and {coder.describe()} codes every symbol of its tables as the exporter did; "
        f"{chosen_kernels(kernels)} kernels"
    )
