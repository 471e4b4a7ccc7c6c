"""Verifies the graphs of a bundle on an engine of this machine."""

from __future__ import annotations

from dataclasses import asdict

from hyvic_runtime.codec.verification import Verification
from hyvic_runtime.engines.selection import EngineKind
from hyvic_runtime.families.latent.bundle import DECODER, ENCODER, EXPECTED_OUTPUTS, LatentBundle
from hyvic_runtime.families.latent.conformance import check_decoder, check_encoder, check_entropy_path
from hyvic_runtime.families.latent.entropy_path import load_entropy_path
from hyvic_runtime.families.latent.expected_outputs import check_expected_outputs
from hyvic_runtime.kernels import KernelKind


def verify_latent_bundle(bundle: LatentBundle, engine: EngineKind | None, _: KernelKind | None) -> Verification:
    """Run every conformance vector, and compare with the expected outputs if the bundle has them.

    Raises:
        BundleError: an output differs.
        EngineError: the bundle does not hold the engine, or the engine does not run here.
    """
    encoder, decoder = (bundle.load_engine(graph, engine) for graph in (ENCODER, DECODER))
    entropy_path = load_entropy_path(bundle, engine)
    check_entropy_path(bundle, entropy_path)
    check_encoder(bundle, encoder, entropy_path)
    check_decoder(bundle, decoder)
    facts = {"bands": bundle.manifest.bands, "slices": bundle.manifest.slices}
    if EXPECTED_OUTPUTS not in bundle.manifest.extras:
        return Verification(engine=entropy_path.describe(), facts=facts)
    agreement = check_expected_outputs(bundle, encoder, entropy_path, decoder)
    return Verification(
        engine=entropy_path.describe(),
        facts=facts,
        expected=asdict(agreement),
        expected_share=agreement.symbols_equal,
    )
