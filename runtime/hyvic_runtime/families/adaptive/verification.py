"""Check of a bundle's context network on the engine at hand."""

from __future__ import annotations

from hyvic_runtime.codec.verification import Verification
from hyvic_runtime.engines.selection import EngineKind
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle
from hyvic_runtime.families.adaptive.conformance import check_network
from hyvic_runtime.families.adaptive.context_network import load_context_network
from hyvic_runtime.kernels import KernelKind


def verify_adaptive_bundle(
    bundle: AdaptiveBundle, engine: EngineKind | None, kernels: KernelKind | None
) -> Verification:
    """Run every conformance vector.

    Raises:
        BundleError: an output differs.
        EngineError: the engine does not run here.
    """
    network = load_context_network(bundle, engine, kernels=kernels)
    check_network(bundle, network)
    return Verification(engine=network.describe(), facts={"tile": bundle.manifest.tile})
