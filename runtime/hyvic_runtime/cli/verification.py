"""`verify-bundle`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.cli.options import add_engine_option, engine_of
from hyvic_runtime.command_line import Result, command_parser, run_command

if TYPE_CHECKING:
    from hyvic_runtime.engines.selection import EngineKind
    from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle
    from hyvic_runtime.families.latent.bundle import Bundle
    from hyvic_runtime.families.latent.expected_outputs import Agreement


def verify_bundle(argv: Sequence[str] | None = None) -> int:
    """Check a bundle's files, and that the engine at hand runs it exactly."""
    parser = command_parser(
        "verify-bundle",
        "Check every octet of a bundle, and that this machine's engine computes its entropy path exactly.",
        "verify-bundle hyvic.bundle",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    add_engine_option(parser)
    return run_command(parser, argv, _verify_bundle)


def _verify_bundle(arguments: argparse.Namespace) -> Result:
    from hyvic_runtime.families.latent.bundle import Bundle, read_bundle
    from hyvic_runtime.families.latent.conformance import check_coder

    bundle = read_bundle(arguments.bundle)
    expected = None
    if isinstance(bundle, Bundle):
        engine, expected = _verify_latent_engines(bundle, engine_of(arguments))
        shape = {"bands": bundle.manifest.bands, "slices": bundle.manifest.slices}
    else:
        engine = _verify_context_network(bundle, engine_of(arguments))
        shape = {"tile": bundle.manifest.tile}
    coder = bundle.entropy_coder()
    check_coder(bundle, coder)
    result = {
        "bundle": str(arguments.bundle),
        "identity": bundle.identity.hex(),
        "family": bundle.manifest.family,
        **shape,
        "engine": engine,
        "entropy_coder": coder.describe(),
        "conformance_vectors": len(bundle.conformance),
        "expected_outputs": None if expected is None else asdict(expected),
        "compiled": None if bundle.manifest.engines is None else asdict(bundle.manifest.engines),
        "provenance": bundle.manifest.provenance,
    }
    beside = "" if expected is None else f" and {expected.symbols_equal:.2%} of the expected symbols"
    return result, (
        f"{arguments.bundle}: intact; {engine} computes all {len(bundle.conformance)} conformance vectors "
        f"exactly{beside}, and {coder.describe()} codes every symbol of its tables as the exporter did"
    )


def _verify_latent_engines(bundle: Bundle, kind: EngineKind | None) -> tuple[str, Agreement | None]:
    """What runs the entropy path, and how far it agrees with the expected outputs where there are any."""
    from hyvic_runtime.engines.selection import load_engine
    from hyvic_runtime.families.latent.bundle import DECODER, ENCODER, EXPECTED_OUTPUTS
    from hyvic_runtime.families.latent.conformance import check_decoder, check_encoder, check_entropy_path
    from hyvic_runtime.families.latent.entropy_path import load_entropy_path
    from hyvic_runtime.families.latent.expected_outputs import check_expected_outputs

    encoder, decoder = (load_engine(bundle, graph, kind) for graph in (ENCODER, DECODER))
    entropy_path = load_entropy_path(bundle, kind)
    check_entropy_path(bundle, entropy_path)
    check_encoder(bundle, encoder, entropy_path)
    check_decoder(bundle, decoder)
    expected = None
    if EXPECTED_OUTPUTS in bundle.manifest.extras:
        expected = check_expected_outputs(bundle, encoder, entropy_path, decoder)
    return entropy_path.describe(), expected


def _verify_context_network(bundle: AdaptiveBundle, kind: EngineKind | None) -> str:
    """What runs it."""
    from hyvic_runtime.families.adaptive.conformance import check_network
    from hyvic_runtime.families.adaptive.context_network import load_context_network

    network = load_context_network(bundle, kind)
    check_network(bundle, network)
    return network.describe()
