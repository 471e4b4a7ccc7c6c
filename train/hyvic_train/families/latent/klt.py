"""Initialisation by the Karhunen–Loève transform, stage by stage.

From random weights a codec spends most of a short training on finding that the leading principal components are
a good start. Here every layer of the encoder gets the KLT of the features below it (pixel spectra for the first
pixelwise convolution, 2×2 patches for every strided one), the decoder gets the transposes, what else lies
between starts near the identity, and the entropy model at each latent channel's own mean and spread. Training then
starts from a working linear transform codec.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hyvic_train.families.latent.codec_model import CodecModel


@torch.no_grad()
def initialise(model: CodecModel, tiles: Tensor, step: float, lmbdas: Sequence[float]) -> None:
    """Make `model` a linear transform codec that quantises with a step of `step` digital numbers.

    Args:
        model: changed in place.
        tiles: (tile, band, line, sample) digital numbers of training scenes.
        step: quantiser step of the orthonormal coefficients, in digital numbers; with several rates at their middle.
        lmbdas: λ of every rate level.
    """
    model.make_linear()
    peak = model.config.peak
    features = tiles / peak
    pixel_in, pixel_out = _convolutions(model.g_a)[0], _convolutions(model.g_s)[-1]
    basis, mean = _klt(features.transpose(0, 1).flatten(1), pixel_in.out_channels)
    # Branches that each carry the spectra: an equal share of every one goes in, and each gets the spectra back.
    branches = pixel_in.in_channels // model.config.bands
    basis, mean = basis.repeat(1, branches), mean.repeat(branches)
    _copy_rows(pixel_in.weight[:, :, 0, 0], basis / branches)
    pixel_in.bias.copy_(-pixel_in.weight[:, :, 0, 0] @ mean)
    _copy_rows(pixel_out.weight[:, :, 0, 0].T, basis)
    pixel_out.bias.copy_(mean)

    strided = _convolutions(model.g_a)[1:-1]
    transposed = _convolutions(model.g_s)[1:-1]
    centre = model.config.kernel_size // 2
    reached = 0
    for index, down in enumerate(strided):
        before = list(model.g_a).index(down)
        features, reached = _through(model.g_a[reached:before], features, model.tiles_at_once), before
        patches = nn.functional.pixel_unshuffle(features, 2).transpose(0, 1).flatten(1)
        # The stage's bias stays zero: the pixel spectra are already centred, and a patch's mean with them.
        basis, _ = _klt(patches, down.out_channels)
        taps = basis.reshape(-1, down.in_channels, 2, 2)
        up = transposed[len(strided) - 1 - index]
        for layer in (down, up):
            layer.bias.zero_()
            layer.weight.zero_()
        # A kernel of size 1 has one tap: it keeps the top-left pixel of each patch.
        reach = slice(centre, min(centre + 2, model.config.kernel_size))
        width = reach.stop - reach.start
        for layer in (down, up):
            layer.weight[: len(taps), :, reach, reach] = taps[:, :, :width, :width]

    mix_in, mix_out = _convolutions(model.g_a)[-1], _convolutions(model.g_s)[0]
    kept = min(mix_in.out_channels, mix_in.in_channels)
    gain = peak / step
    mix_in.weight.zero_()
    mix_in.bias.zero_()
    mix_in.weight[range(kept), range(kept), 0, 0] = gain
    mix_out.bias.zero_()
    # Channels beyond N start silent (no bits) but with a decoder path, so that a gradient reaches them.
    nn.init.normal_(mix_out.weight, std=0.1 / gain)
    mix_out.weight[:, :kept] = 0
    mix_out.weight[range(kept), range(kept), 0, 0] = 1 / gain

    initialise_gains(model, lmbdas)

    latent = _through(model.g_a[reached:], features, model.tiles_at_once)
    spread = latent.std(dim=(0, 2, 3)).clamp_min(0.2)
    model.start_entropy_path(latent.mean(dim=(0, 2, 3)), spread)
    # The hyper-encoder sees latents of one spread, whatever their channel.
    _convolutions(model.h_a)[0].weight.div_(spread[:, None, None])


@torch.no_grad()
def initialise_gains(model: CodecModel, lmbdas: Sequence[float]) -> None:
    """Start the gains of several rates where the best steps of a transform codec lie at high rate: ∝ 1 / √λ."""
    if model.config.rates > 1:
        log2_lmbda = torch.tensor(lmbdas, dtype=torch.float64).log2()
        log2_gain = ((log2_lmbda - log2_lmbda.mean()) / 2)[:, None]
        model.log2_gain.copy_(log2_gain.expand_as(model.log2_gain))
        model.log2_inverse_gain.copy_(-log2_gain.expand_as(model.log2_gain))


def _through(layers: nn.Sequential, features: Tensor, tiles_at_once: int) -> Tensor:
    """Pass tiles through layers, a few at a time."""
    return torch.cat([layers(part) for part in torch.split(features, tiles_at_once)])


def _convolutions(transform: nn.Sequential) -> list[Any]:
    return [m for m in transform if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def _copy_rows(weight: Tensor, basis: Tensor) -> None:
    """Write the basis into the leading rows; rows beyond the KLT's components become zero."""
    weight.zero_()
    weight[: len(basis)] = basis


def _klt(samples: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Find the principal components of (feature, observation) samples.

    Returns:
        (components or fewer, feature) orthonormal rows in falling order of variance, and the mean (feature,).
    """
    # Double precision: the covariance of 202 bands spans ten orders of magnitude.
    observations = samples.double()
    mean = observations.mean(dim=1)
    centred = observations - mean[:, None]
    _, vectors = torch.linalg.eigh(centred @ centred.T)
    return vectors.flip(1).T[:components].to(samples.dtype), mean.to(samples.dtype)
