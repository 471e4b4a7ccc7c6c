"""Checks that the engines of this machine compute the same integers as the engines of the exporter.

If one integer differs, everything after the first wrong frequency table decodes to noise. So the runtime checks before
it codes:

- the entropy path, on every conformance vector;
- the copy of the entropy path in the encoder graph, against the entropy path;
- the entropy coder, on every symbol of every frequency table (`codec/conformance.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.conformance import Verification, outputs_sha256
from hyvic_runtime.engines.engine import Engine
from hyvic_runtime.engines.selection import EngineKind
from hyvic_runtime.errors import BundleError
from hyvic_runtime.families.latent.bundle import DECODER, ENCODER, EXPECTED_OUTPUTS, LatentBundle
from hyvic_runtime.families.latent.encoder_inputs import encoder_inputs
from hyvic_runtime.families.latent.entropy_path import EntropyPath, load_entropy_path
from hyvic_runtime.families.latent.expected_outputs import check_expected_outputs
from hyvic_runtime.kernels import KernelKind
from hyvic_runtime.packets.quality import MAX_QUALITY_CODE
from hyvic_runtime.scene.tile_grid import whole_tile


def check_entropy_path(bundle: LatentBundle, path: EntropyPath) -> None:
    """Compute the entropy path of every conformance vector and compare the digests.

    Raises:
        BundleError: an output differs from the integer definition.
    """
    vectors = zip(bundle.conformance, bundle.conformance_symbols, bundle.manifest.conformance, strict=True)
    for index, (hyperlatent, symbols, expected) in enumerate(vectors):
        walked = path.walk_coded(hyperlatent, symbols)
        outputs = [walked.scale_index, walked.mean_steps]
        if bundle.manifest.slices:
            outputs.append(walked.latent_steps)
        if outputs_sha256(*outputs) != expected:
            raise BundleError(
                f"{path.describe()} fails conformance vector {index} of {len(bundle.conformance)}: it does not "
                "compute the entropy path exactly, so streams would not decode; use another engine or precision"
            )


def check_encoder(bundle: LatentBundle, encoder: Engine, path: EntropyPath) -> None:
    """Compare the scale indices of the encoder graph and the entropy path, for the ẑ and symbols of the encoder.

    The encoder graph does not output the means, but the same layers compute means and scale indices.

    Raises:
        BundleError: the two copies of the entropy path disagree.
    """
    for inputs in _probes(bundle):
        coded = encoder.run(inputs)
        derived = path.walk_coded(coded["hyperlatent"][0], coded["symbols"][0]).scale_index
        if not np.array_equal(coded["scale_index"][0], derived):
            wrong = int((coded["scale_index"][0] != derived).sum())
            raise BundleError(
                f"{encoder.describe()}: encoder and decoder graphs disagree in {wrong} of "
                f"{derived.size} scale indices, so streams would not decode; use another engine"
            )


def encoder_sha256(bundle: LatentBundle, encoder: Engine) -> str:
    """Return a digest of the outputs for a few tiles; it changes if the memory of the engine is corrupted."""
    digest = hashlib.sha256()
    for inputs in _probes(bundle):
        for _, output in sorted(encoder.run(inputs).items()):
            digest.update(output.tobytes())
    return digest.hexdigest()


def _probes(bundle: LatentBundle) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield encoder inputs that span the range of the sensor, at the highest rate level.

    The tiles are dark, saturated, and noise of both signs with a fixed seed, which gives an extreme ẑ.
    """
    manifest = bundle.manifest
    shape = (1, manifest.geometry.window, manifest.geometry.window, manifest.bands)
    noise = np.random.default_rng(0).uniform(-manifest.peak, manifest.peak, shape)
    mean = np.zeros(manifest.bands, np.int32)
    for pixels in (np.zeros(shape), np.full(shape, manifest.peak), noise):
        yield encoder_inputs(bundle, pixels.astype(np.float32), mean, MAX_QUALITY_CODE, whole_tile(manifest.geometry))


def check_decoder(bundle: LatentBundle, decoder: Engine) -> None:
    """Run the decoder graph once.

    Raises:
        BundleError: the graph does not return a tile of finite numbers.
    """
    manifest = bundle.manifest
    size = manifest.geometry.latent_window
    latent = np.zeros((1, manifest.latent_channels, size, size), np.float32)
    tile = decoder.run({"latent": latent})["reconstruction"]
    expected = (1, manifest.geometry.tile, manifest.geometry.tile, manifest.bands)
    if tile.shape != expected or not np.isfinite(tile).all():
        raise BundleError(f"the decoder graph gives {tile.shape}, not finite {expected}; export the bundle again")


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
