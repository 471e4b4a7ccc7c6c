"""Check that an engine computes the context network to the bit.

After the first wrong table a decoder reads only noise, so the runtime checks before it codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.conformance import Verification, outputs_sha256
from hyvic_runtime.engines.engine import Engine
from hyvic_runtime.engines.selection import EngineKind
from hyvic_runtime.errors import BundleError
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle
from hyvic_runtime.families.adaptive.context_network import load_context_network
from hyvic_runtime.kernels import KernelKind


def network_sha256(outputs: Mapping[str, NDArray[np.integer[Any]]]) -> str:
    """Return the digest of the network's outputs for a conformance vector, by name."""
    return outputs_sha256(outputs["scale_index"], outputs["mean_steps"], outputs["gain"])


def check_network(bundle: AdaptiveBundle, network: Engine) -> None:
    """Run every conformance vector.

    Args:
        bundle: bundle of the vectors.
        network: engine of the bundle's CONTEXT_NETWORK.

    Raises:
        BundleError: an output differs from the integer definition.
    """
    for index, (contexts, expected) in enumerate(zip(bundle.conformance, bundle.manifest.conformance, strict=True)):
        if network_sha256(network.run({"contexts": contexts[None].astype(np.float32)})) != expected:
            raise BundleError(
                f"{network.describe()} fails conformance vector {index} of {len(bundle.conformance)}: it does not "
                "compute the context network exactly, so streams would not decode; use another engine"
            )


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
