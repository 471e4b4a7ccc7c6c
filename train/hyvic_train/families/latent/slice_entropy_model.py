"""Channel-wise autoregressive entropy model with latent residual prediction.

Source: Minnen, Singh, Channel-wise Autoregressive Entropy Models for Learned Image Compression (ICIP 2020), which seed
paper 001, section 3.2, takes over with single Gaussians. Widths and depths are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hyvic_train.entropy_path_layer import Arithmetic, EntropyPathLayer, watch
from hyvic_train.families.latent.codec_model import CodedLatent
from hyvic_train.families.latent.model_config import JointConfig
from hyvic_train.integer_path import (
    latent_step,
    rounded_correction,
    rounded_latent,
    rounded_log2_scale,
    rounded_mean,
)

Code = Callable[[slice, Tensor], Tensor]
"""Returns the symbols of a slice of channels with known means: the encoder rounds y − μ, the decoder reads them."""


class SliceNetwork(nn.Module):
    """Network of a slice: conv k×k (inputs→W), LeakyReLU, conv 1×1, LeakyReLU, conv 1×1 (W→outputs)."""

    def __init__(self, inputs: int, outputs: int, config: JointConfig) -> None:
        super().__init__()
        k, width, slope = config.slice_kernel_size, config.slice_channels, 2.0**-config.leaky_slope_bits
        self.first = EntropyPathLayer(nn.Conv2d(inputs, width, k, padding=k // 2), slope)
        self.second = EntropyPathLayer(nn.Conv2d(width, width, 1), slope)
        self.last = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor, arithmetic: Arithmetic) -> Tensor:
        y: Tensor = self.last(self.second(self.first(x, arithmetic), arithmetic))
        return y


class SliceEntropyModel(nn.Module):
    """σ and μ of every slice of ŷ from the hyperprior and the slices before it.

        σ_i, μ_i = prediction_i(h, ŷ_0 … ŷ_i−1)
        s_i      = code(μ_i)                                        the symbols: y_i − μ_i, rounded
        r_i      = ½ tanh(correction_i(h, ŷ_0 … ŷ_i−1, s_i + μ_i))   rounding error: latent residual prediction
        ŷ_i      = s_i + μ_i + r_i

    h is the output of the hyper-decoder.

    Latents that predict others are operands of the integer network: where it rounds, they have fewer bits there.
    """

    def __init__(self, hyperprior_channels: int, config: JointConfig) -> None:
        super().__init__()
        M, depth = config.latent_channels, config.latent_channels // config.slices
        self.hyperprior_channels = hyperprior_channels
        self.channels = tuple(slice(first, first + depth) for first in range(0, M, depth))
        self.prediction = nn.ModuleList(
            SliceNetwork(hyperprior_channels + of.start, 2 * depth, config) for of in self.channels
        )
        self.correction = nn.ModuleList(
            SliceNetwork(hyperprior_channels + of.stop, depth, config) for of in self.channels
        )
        self.latent_peak: Tensor
        self.register_buffer("latent_peak", torch.zeros(M))

    def forward(self, hyperprior: Tensor, code: Code, arithmetic: Arithmetic = Arithmetic.REAL) -> CodedLatent:
        """Go through the slices; encoder and decoder differ in `code` alone.

        Args:
            hyperprior: output of the hyper-decoder, (batch, channel, line, sample).
            code: asked for the symbols of each slice in turn.
            arithmetic: arithmetic of the networks.
        """
        context = hyperprior
        parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for of, prediction, correction in zip(self.channels, self.prediction, self.correction, strict=True):
            log2_scales, means = prediction(context, arithmetic).chunk(2, dim=1)
            if arithmetic is Arithmetic.ROUNDED:
                log2_scales, means = rounded_log2_scale(log2_scales), rounded_mean(means)
            symbols = code(of, means)
            decoded = symbols + means
            argument = correction(torch.cat((context, self._operand(decoded, of, arithmetic)), dim=1), arithmetic)
            rest = rounded_correction(argument) if arithmetic is Arithmetic.ROUNDED else 0.5 * torch.tanh(argument)
            y_hat = decoded + rest
            context = torch.cat((context, self._operand(y_hat, of, arithmetic)), dim=1)
            # 2**12 quantiser steps exceed any latent; the clamp keeps a diverging run finite.
            parts.append((y_hat, symbols, torch.exp2(log2_scales.clamp(-8.0, 12.0)), means))
        y_hat, symbols, scales, means = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
        return CodedLatent(y_hat=y_hat, symbols=symbols, scales=scales, means=means)

    def _operand(self, latent: Tensor, of: slice, arithmetic: Arithmetic) -> Tensor:
        """Return latents as the networks of later slices see them."""
        peak = self.latent_peak[of]
        watch(peak, latent, arithmetic, training=self.training)
        if arithmetic is Arithmetic.ROUNDED:
            latent = rounded_latent(latent, latent_step(peak)[:, None, None])
        return latent

    @torch.no_grad()
    def start(self, mean: Tensor, spread: Tensor) -> None:
        """Start from a prediction of every latent by the statistics of its channel, without residual prediction.

        Args:
            mean: (M,) means of the channels.
            spread: (M,) standard deviations, above zero.
        """
        network: Any
        for network in (*self.prediction, *self.correction):
            # Latents come in of one spread, whatever their channel.
            latents = network.first.convolution.weight[:, self.hyperprior_channels :]
            latents.div_(spread[: latents.shape[1], None, None])
        for of, network in zip(self.channels, self.prediction, strict=True):
            network.last.weight.mul_(0.1)
            network.last.bias.copy_(torch.cat((spread[of].log2(), mean[of])))
        for network in self.correction:
            network.last.weight.zero_()
            network.last.bias.zero_()
