"""What an engine should give for one synthetic tile: a check, on the device, that it runs the exporter's graphs.

The conformance vectors prove the entropy path to the bit. The transforms around it are float, so that two engines
differ where a latent lies on a half; here it is seen that they differ no further. Written where ONNX Runtime on a
processor computed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.engines.engine import Engine
from hyvic_runtime.errors import BundleError
from hyvic_runtime.families.latent.bundle import EXPECTED_OUTPUTS, LatentBundle, LatentManifest
from hyvic_runtime.families.latent.encoder_inputs import encoder_inputs
from hyvic_runtime.families.latent.entropy_path import EntropyPath
from hyvic_runtime.packets.quality import MAX_QUALITY_CODE
from hyvic_runtime.scene.tile_grid import whole_tile

PIXEL_STEP = 8
"""Every so many lines and samples of the reconstruction are kept: all of it would be as large as the weights."""
LATENT_SLACK, REST_SLACK, LATENT_SHARE = 1.0, 1.0, 2.0**-6
"""Quantised latents of two engines lie within one step where both round one value; where slices add the predicted
rest of the rounding, ½ step at most, within another one. fp16's 11 bits, lost over some layers, move the value itself
by a share of it."""
PEAK_SHARE = 2.0**-6
"""The same for pixels, as a share of the sensor's range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far an engine is from the exporter's.

    Attributes:
        hyperlatents_equal: share of them.
        symbols_equal: share of them; one other hyper-latent changes the means of a neighbourhood.
        latent_difference: largest, in quantiser steps.
        pixel_difference: largest, in digital numbers.
    """

    hyperlatents_equal: float
    symbols_equal: float
    latent_difference: float
    pixel_difference: float


def probe_tile(manifest: LatentManifest) -> NDArray[np.float32]:
    """A tile with structure along every axis, the same on every machine: (1, line, sample, band)."""
    window = manifest.geometry.window
    line, sample, band = np.ogrid[:window, :window, : manifest.bands]
    waves = np.abs((7 * line + 3 * sample + 5 * band) % 128 - 64) + np.abs((2 * line - 5 * sample + band) % 96 - 48)
    centre = manifest.peak / 4 * (not manifest.mean_spectrum)
    return np.asarray(centre + (waves - 56) * manifest.peak / 1024, np.float32)[None]


def write_expected_outputs(
    path: Path, bundle: LatentBundle, encoder: Engine, entropy_path: EntropyPath, decoder: Engine
) -> None:
    """Compute and store them."""
    coded = _coded(bundle, encoder)
    pixels = _pixels(bundle, _latent(bundle, coded, entropy_path), decoder)
    np.savez_compressed(path, hyperlatent=coded["hyperlatent"], symbols=coded["symbols"], reconstruction=pixels)


def check_expected_outputs(
    bundle: LatentBundle, encoder: Engine, entropy_path: EntropyPath, decoder: Engine
) -> Agreement:
    """Hold engines against the stored outputs.

    Raises:
        BundleError: they differ by more than rounding.
    """
    path = bundle.folder / EXPECTED_OUTPUTS
    try:
        with np.load(path, allow_pickle=False) as stored:
            expected = {name: stored[name] for name in ("hyperlatent", "symbols", "reconstruction")}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise BundleError(f"{path} does not hold the expected outputs; export the bundle again") from error
    coded = _coded(bundle, encoder)
    latent = _latent(bundle, expected, entropy_path)
    latent_difference = np.abs(_latent(bundle, coded, entropy_path) - latent)
    pixel_difference = np.abs(_pixels(bundle, latent, decoder) - expected["reconstruction"])
    agreement = Agreement(
        hyperlatents_equal=float(np.mean(coded["hyperlatent"] == expected["hyperlatent"])),
        symbols_equal=float(np.mean(coded["symbols"] == expected["symbols"])),
        latent_difference=float(latent_difference.max()),
        pixel_difference=float(pixel_difference.max()),
    )
    # Spelled so that NaN fails.
    slack = LATENT_SLACK + REST_SLACK * (bundle.manifest.slices > 0)
    if not (latent_difference <= slack + LATENT_SHARE * np.abs(latent)).all():
        raise BundleError(
            f"{encoder.describe()}: latents are up to {agreement.latent_difference:.1f} steps from the exporter's, "
            "more than rounding explains; build the engines again"
        )
    if not agreement.pixel_difference <= PEAK_SHARE * bundle.manifest.peak:
        raise BundleError(
            f"{decoder.describe()}: pixels are up to {agreement.pixel_difference:.0f} digital numbers from the "
            "exporter's, more than rounding explains; build the engines again"
        )
    return agreement


def _coded(bundle: LatentBundle, encoder: Engine) -> dict[str, NDArray[Any]]:
    mean, tile = np.zeros(bundle.manifest.bands, np.int32), whole_tile(bundle.manifest.geometry)
    return encoder.run(encoder_inputs(bundle, probe_tile(bundle.manifest), mean, MAX_QUALITY_CODE, tile))


def _latent(bundle: LatentBundle, coded: dict[str, NDArray[Any]], entropy_path: EntropyPath) -> NDArray[np.float32]:
    """Quantised latents in steps, (1, M, line, sample)."""
    walked = entropy_path.walk_coded(coded["hyperlatent"][0], coded["symbols"][0])
    return walked.latent_steps[None].astype(np.float32) * np.float32(2.0**-bundle.manifest.mean_step_bits)


def _pixels(bundle: LatentBundle, latent: NDArray[np.float32], decoder: Engine) -> NDArray[np.float32]:
    """Of the tile whose halo repeats its edge, every PIXEL_STEP lines and samples."""
    geometry = bundle.manifest.geometry
    _, inverse_gain = bundle.gains.at(MAX_QUALITY_CODE)
    halo = (geometry.latent_halo_before, geometry.latent_halo_after)
    window = np.pad(latent * inverse_gain, ((0, 0), (0, 0), halo, halo), mode="edge")
    reconstruction = decoder.run({"latent": window})["reconstruction"]
    return np.ascontiguousarray(reconstruction[0, ::PIXEL_STEP, ::PIXEL_STEP])
