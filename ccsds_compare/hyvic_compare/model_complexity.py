"""Size and arithmetic of a HyVIC model, from its configuration alone (seed paper section III).

The symbols are the paper's: C bands, M latent channels, N hyper-latent channels, kernel k, S spatial stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TILE = 128
"""Side in pixels of the square that FLOPs are stated for: a patch of HySpecNet-11k."""

_SIZES = ("bands", "latent_channels", "hyperlatent_channels", "kernel_size", "spatial_stages")
_OTHERS = ("peak", "leaky_slope_bits", "leaky_slope", "rates", "hyperprior")
_PRIOR_PARAMETERS = 61
"""Parameters in one channel of CompressAI's factorised prior with filters (3, 3, 3, 3): 33 matrix entries, 13 biases,
12 factors, 3 quantiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Sizes that parameters and arithmetic depend on.

    Attributes:
        bands: C.
        latent_channels: M.
        hyperlatent_channels: N.
        kernel_size: k.
        spatial_stages: S.
        rates: levels of a variable-rate model, each with a gain and an inverse gain for each latent channel; with 1
            level, there are no gains.
    """

    bands: int
    latent_channels: int
    hyperlatent_channels: int
    kernel_size: int
    spatial_stages: int
    rates: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """Size and arithmetic of one model.

    Attributes:
        parameters: trainable parameters, the factorised prior's included.
        encoder_flops: FLOPs of E, E^H and D^H on one tile of TILE × TILE pixels.
        decoder_flops: FLOPs of D^H and D on such a tile.
    """

    parameters: int
    encoder_flops: int
    decoder_flops: int


def architecture_from_config(model: Mapping[str, object]) -> Architecture | None:
    """Return the architecture that a configuration's model section describes.

    Returns:
        None if the section is not HyVIC's: a key is missing or unknown, or a value is not a whole number.
    """
    if not set(_SIZES) <= model.keys() or not model.keys() <= {*_SIZES, *_OTHERS}:
        return None
    numbers = {name: model[name] for name in (*_SIZES, "rates") if name in model}
    sizes = {name: value for name, value in numbers.items() if isinstance(value, int) and not isinstance(value, bool)}
    return Architecture(**sizes) if sizes.keys() == numbers.keys() else None


def complexity(model: Architecture) -> Complexity:
    """Count parameters and FLOPs.

    A multiplication and an addition are two FLOPs. Convolutions count, GDN's 1×1 among them; biases, activations, gains
    and GDN's division do not. A transposed convolution spends k² products on every input element, elements that its
    padding crops included, as torch counts it.
    """
    C, M, N = model.bands, model.latent_channels, model.hyperlatent_channels
    k, S = model.kernel_size, model.spatial_stages
    wide = 3 * M // 2
    pixels = TILE * TILE
    latent, hyperlatent = pixels // 4**S, pixels // 4 ** (S + 2)

    analysis = C * N + N * N + N * M
    encoder = pixels * (C * N + N * N) + latent * N * M
    decoder = latent * (M * N + N * N) + pixels * N * C
    for stage in range(1, S + 1):
        coarse = pixels // 4**stage
        analysis += k * k * N * N + N * N
        encoder += coarse * (k * k * N * N + N * N)
        # The transposed convolution starts from the coarse grid, the IGDN follows on the fine one.
        decoder += coarse * k * k * N * N + 4 * coarse * N * N
    # Every convolution has a bias and every GDN an offset, one for each channel of its output.
    analysis_offsets = 2 * N + 2 * N * S + M
    synthesis_offsets = 2 * N + 2 * N * S + C

    hyperencoder = M * N + 2 * k * k * N * N
    hyperdecoder = k * k * (N * M + M * wide) + wide * 2 * M
    parameters = 2 * analysis + analysis_offsets + synthesis_offsets
    parameters += hyperencoder + 3 * N + hyperdecoder + M + wide + 2 * M + _PRIOR_PARAMETERS * N
    if model.rates > 1:
        parameters += 2 * model.rates * M

    hyperencoder_products = latent * M * N + (latent // 4 + hyperlatent) * k * k * N * N
    hyperdecoder_products = hyperlatent * k * k * N * M + 4 * hyperlatent * k * k * M * wide + latent * wide * 2 * M
    return Complexity(
        parameters=parameters,
        encoder_flops=2 * (encoder + hyperencoder_products + hyperdecoder_products),
        decoder_flops=2 * (hyperdecoder_products + decoder),
    )
