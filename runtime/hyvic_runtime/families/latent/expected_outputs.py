"""Expected outputs for one synthetic tile: checks on the device that an engine runs the graphs of the exporter.

The conformance vectors prove the entropy path to the bit. The analysis and synthesis transforms use floating point, so
two engines can differ where a latent lies near a half. This check makes sure that they differ by no more than rounding.
The exporter writes the expected outputs with ONNX Runtime on a processor.
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
"""Distance of the lines, and of the samples, of the reconstruction that are stored.

The whole reconstruction would be as large as the weights."""
LATENT_SLACK, REST_SLACK, LATENT_SHARE = 1.0, 1.0, 2.0**-6
"""Largest difference of the quantised latents of two engines: slack in quantiser steps, and share of the latent.

If both engines round nearly the same value, the results lie within one step. Slices add the predicted rest of the
rounding, at most ½ step of either sign, hence a second step. Rounding to the 11 bits of fp16 in several layers changes
the value itself by a share of it."""
PEAK_SHARE = 2.0**-6
"""Largest difference of pixels, as a share of the range of the sensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Difference between the outputs of an engine and the expected outputs.

    Attributes:
        hyperlatents_equal: share of equal hyper-latents.
        symbols_equal: share of equal symbols; one different hyper-latent changes the means of its neighbourhood.
        latent_difference: largest difference of latents, in quantiser steps.
        pixel_difference: largest difference of pixels, in digital numbers.
    """

    hyperlatents_equal: float
    symbols_equal: float
    latent_difference: float
    pixel_difference: float


def probe_tile(manifest: LatentManifest) -> NDArray[np.float32]:
    """Return a tile with structure along every axis, equal on every machine, (1, line, sample, band)."""
    window = manifest.geometry.window
    line, sample, band = np.ogrid[:window, :window, : manifest.bands]
    waves = np.abs((7 * line + 3 * sample + 5 * band) % 128 - 64) + np.abs((2 * line - 5 * sample + band) % 96 - 48)
    centre = manifest.peak / 4 * (not manifest.mean_spectrum)
    return np.asarray(centre + (waves - 56) * manifest.peak / 1024, np.float32)[None]


def write_expected_outputs(
    path: Path, bundle: LatentBundle, encoder: Engine, entropy_path: EntropyPath, decoder: Engine
) -> None:
    """Compute and store the expected outputs."""
    coded = _coded(bundle, encoder)
    pixels = _pixels(bundle, _latent(bundle, coded, entropy_path), decoder)
    np.savez_compressed(path, hyperlatent=coded["hyperlatent"], symbols=coded["symbols"], reconstruction=pixels)


def check_expected_outputs(
    bundle: LatentBundle, encoder: Engine, entropy_path: EntropyPath, decoder: Engine
) -> Agreement:
    """Compare the outputs of engines with the stored outputs.

    Raises:
        BundleError: the outputs differ by more than rounding explains.
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
    # The comparisons are written so that NaN fails.
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
    """Return the quantised latents in quantiser steps, (1, M, line, sample)."""
    walked = entropy_path.walk_coded(coded["hyperlatent"][0], coded["symbols"][0])
    return walked.latent_steps[None].astype(np.float32) * np.float32(2.0**-bundle.manifest.mean_step_bits)


def _pixels(bundle: LatentBundle, latent: NDArray[np.float32], decoder: Engine) -> NDArray[np.float32]:
    """Return every PIXEL_STEP-th line and sample of the reconstruction; the halo repeats the edge of the tile."""
    geometry = bundle.manifest.geometry
    _, inverse_gain = bundle.gains.at(MAX_QUALITY_CODE)
    halo = (geometry.latent_halo_before, geometry.latent_halo_after)
    window = np.pad(latent * inverse_gain, ((0, 0), (0, 0), halo, halo), mode="edge")
    reconstruction = decoder.run({"latent": window})["reconstruction"]
    return np.ascontiguousarray(reconstruction[0, ::PIXEL_STEP, ::PIXEL_STEP])
