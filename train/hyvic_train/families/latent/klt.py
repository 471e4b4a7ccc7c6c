"""Initialisation by the Karhunen–Loève transform, stage by stage.

From random weights a codec spends most of a short training on finding that the leading principal components are
a good start. Here every layer of the encoder gets the KLT of the features below it (pixel spectra for the first
pixelwise convolution, 2×2 patches for every strided one), the decoder gets the transposes, what else lies
between starts near the identity, and the entropy model at each latent channel's own mean and spread. Training then
starts from a working linear transform codec.

The KLT of C bands has C components, and a wide model has N > C features. A feature whose weights are zero on both
sides never gets a gradient, so features and latents beyond the KLT start small and random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hyvic_train.families.latent.codec_model import CodecModel

Tiles = Callable[[], Iterable[Tensor]]
"""Yields the same tiles at every call, a few at a time: (tile, band, line, sample) digital numbers."""

_SMALL = 1e-2
"""Length of a weight vector beyond the KLT, where the KLT's own have 1. What such a feature adds to the reconstruction
passes two of them: 1e-4 of the signal, far below any quantiser step."""
_SILENT_SPREAD = 0.02
"""Spread of the latents beyond the KLT, in quantiser steps: none is ever rounded to other than zero."""


def best_step(lmbdas: Sequence[float]) -> float:
    """Return the quantiser step Δ of a transform codec at the geometric mean of λ, in digital numbers.

    At high rate each coefficient costs −log2 Δ bits and has a squared error of Δ²/12, so R + λD is least where
    λ Δ / 6 = 1 / (Δ ln 2).
    """
    lmbda = math.exp(sum(map(math.log, lmbdas)) / len(lmbdas))
    return math.sqrt(6 / (lmbda * math.log(2)))


@torch.no_grad()
def initialise(model: CodecModel, tiles: Tiles, step: float, lmbdas: Sequence[float]) -> None:
    """Make `model` a linear transform codec that quantises with a step of `step` digital numbers.

    Args:
        model: changed in place.
        tiles: yields tiles of training scenes; called once for every stage, so that no stage's features are kept.
        step: quantiser step of the orthonormal coefficients, in digital numbers; with several rates at their middle.
        lmbdas: λ of every rate level.
    """
    model.make_linear()
    peak = model.config.peak

    def features(below: nn.Module | None) -> Iterable[Tensor]:
        """Yield the features that a layer reads, one tile after the other; None: the first layer."""
        before = 0 if below is None else list(model.g_a).index(below)
        return (model.g_a[:before](tile[None] / peak) for part in tiles() for tile in part)

    pixel_in, pixel_out = _convolutions(model.g_a)[0], _convolutions(model.g_s)[-1]
    spectra = _Moments.of(part.transpose(0, 1).flatten(1) for part in features(None))
    # Branches that each carry the spectra: an equal share of every one goes in, and each gets the spectra back.
    branches = pixel_in.in_channels // model.config.bands
    basis, mean = spectra.klt(pixel_in.out_channels).repeat(1, branches), spectra.mean.float().repeat(branches)
    _copy_rows(pixel_in.weight[:, :, 0, 0], basis, 1 / branches)
    pixel_in.bias.copy_(-pixel_in.weight[:, :, 0, 0] @ mean)
    _copy_rows(pixel_out.weight[:, :, 0, 0].T, basis)
    pixel_out.bias.copy_(mean)

    strided = _convolutions(model.g_a)[1:-1]
    transposed = _convolutions(model.g_s)[1:-1]
    centre = model.config.kernel_size // 2
    for down, up in zip(strided, reversed(transposed), strict=True):
        patches = (nn.functional.pixel_unshuffle(part, 2).transpose(0, 1).flatten(1) for part in features(down))
        # The stage's bias stays zero: the pixel spectra are already centred, and a patch's mean with them.
        taps = _Moments.of(patches).klt(down.out_channels).reshape(-1, down.in_channels, 2, 2)
        # A kernel of size 1 has one tap: it keeps the top-left pixel of each patch.
        reach = slice(centre, min(centre + 2, model.config.kernel_size))
        width = reach.stop - reach.start
        for layer in (down, up):
            layer.bias.zero_()
            layer.weight.zero_()
            layer.weight[: len(taps), :, reach, reach] = taps[:, :, :width, :width]

    mix_in, mix_out = _convolutions(model.g_a)[-1], _convolutions(model.g_s)[0]
    kept = min(mix_in.out_channels, mix_in.in_channels)
    gain = peak / step
    mix_in.weight[:kept] = 0
    mix_in.bias.zero_()
    mix_in.weight[range(kept), range(kept), 0, 0] = gain
    mix_out.bias.zero_()
    nn.init.normal_(mix_out.weight, std=0.1 / gain)
    mix_out.weight[:, :kept] = 0
    mix_out.weight[range(kept), range(kept), 0, 0] = 1 / gain

    initialise_gains(model, lmbdas)

    latent = _Moments.of(mix_in(part).transpose(0, 1).flatten(1) for part in features(mix_in))
    mean, spread = latent.mean.float(), latent.spread.float()
    # Channels beyond N start silent (no bits), and all that reads them gets a gradient.
    quiet = torch.where(spread[kept:] > 0, _SILENT_SPREAD / spread[kept:], 0)
    mix_in.weight[kept:] *= quiet[:, None, None, None]
    mean[kept:] *= quiet
    spread.clamp_(min=0.2)
    model.start_entropy_path(mean, spread)
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


def _convolutions(transform: nn.Sequential) -> list[Any]:
    return [m for m in transform if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def _copy_rows(weight: Tensor, basis: Tensor, length: float = 1) -> None:
    """Write the basis into the leading rows; rows beyond the KLT's components point anywhere, and are short."""
    nn.init.normal_(weight)
    weight *= _SMALL / weight.norm(dim=1, keepdim=True)
    weight[: len(basis)] = basis
    weight *= length


@dataclass(frozen=True, slots=True)
class _Moments:
    """First and second moments of features, in double precision: 202 bands span ten orders of magnitude.

    Attributes:
        mean: (feature,).
        covariance: (feature, feature).
    """

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, parts: Iterable[Tensor]) -> _Moments:
        """Add up (feature, observation) parts, one in memory at a time."""
        count, origin, total, products = 0, torch.zeros(()), torch.zeros(()), torch.zeros(())
        for part in parts:
            observations = part.double()
            if not count:
                # About a point near the mean, so that little cancels below.
                origin = observations.mean(dim=1, keepdim=True)
            centred = observations - origin
            count += centred.shape[1]
            total = total + centred.sum(dim=1)
            products = products + centred @ centred.T
        shift = total / count
        return cls(origin[:, 0] + shift, products / count - shift.outer(shift))

    @property
    def spread(self) -> Tensor:
        """Standard deviations, (feature,)."""
        return self.covariance.diagonal().clamp_min(0).sqrt()

    def klt(self, components: int) -> Tensor:
        """Return (components or fewer, feature) orthonormal rows in falling order of variance."""
        _, vectors = torch.linalg.eigh(self.covariance)
        rows: Tensor = vectors.flip(1).T[:components].float()
        return rows
