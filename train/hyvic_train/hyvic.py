"""HyVIC: variational codec with balanced spatial and spectral feature learning.

Source: Fuchs, Rasti, Demir, "HyVIC: A Metric-Driven Spatio-Spectral Hyperspectral Image Compression
Architecture Based on Variational Autoencoders", section III. C, N, M, k, S, y and z are the paper's.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # compressai 1.2.8 imports torch's deprecated torch.jit
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.layers import GDN

from hyvic_train.config import HyVICConfig

SCALE_BOUND = 0.11
"""Smallest standard deviation in quantiser steps (CompressAI's and Ballé et al.'s; below it a symbol is free)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HyVICOutput:
    """What one pass gives.

    Attributes:
        reconstruction: x̂ in digital numbers, (batch, band, line, sample).
        latent_likelihoods: p(ŷ | ẑ), (batch, M, line, sample).
        hyperlatent_likelihoods: p(ẑ), (batch, N, line, sample).
    """

    reconstruction: Tensor
    latent_likelihoods: Tensor
    hyperlatent_likelihoods: Tensor

    def bits(self) -> Tensor:
        """−log2 p(ŷ, ẑ) of the whole batch: the entropy model's estimate of the stream's length."""
        return -(self.latent_likelihoods.log2().sum() + self.hyperlatent_likelihoods.log2().sum())


class Exponential2Scales(nn.Module):
    """Turns the first half of the channels from log2 σ to σ, and leaves the means.

    The paper does not say how D^H keeps σ positive over its range. A logarithmic output gives channels
    of σ = 0.2 and σ = 300 the same relative resolution, and its integer form is an index straight into
    the scale table (Ballé et al., Integer Networks, ICLR 2019).
    """

    def forward(self, log_scales_and_means: Tensor) -> Tensor:
        log_scales, means = log_scales_and_means.chunk(2, dim=1)
        # 2**12 quantiser steps exceed any latent; the clamp keeps a diverging run finite.
        return torch.cat((torch.exp2(log_scales.clamp(-8.0, 12.0)), means), dim=1)


class HyVIC(nn.Module):
    """The adjustable spatio-spectral codec.

        x ─▶ E ─▶ y ─┬─────────────────▶ Q ─▶ ŷ ─▶ AE │ AD ─▶ ŷ ─▶ D ─▶ x̂
                     │                   ▲            │
                     ▼                   │ μ, σ       │
                    E^H ─▶ z ─▶ Q ─▶ ẑ ─▶ D^H         │ AE^H, AD^H: factorised prior

        E   : conv 1×1 (C→N), GDN, S × [conv k×k /2 (N→N), GDN], conv 1×1 (N→M)
        E^H : conv 1×1 (M→N), LeakyReLU, conv k×k /2 (N→N), LeakyReLU, conv k×k /2 (N→N)
        D^H : conv k×k ×2 (N→M), LeakyReLU, conv k×k ×2 (M→3M/2), LeakyReLU, conv 1×1 (3M/2→2M), 2^·
        D   : conv 1×1 (M→N), IGDN, S × [conv k×k ×2 (N→N), IGDN], conv 1×1 (N→C)

    Module names are CompressAI's (g_a = E, h_a = E^H, h_s = D^H, g_s = D).

    Shapes: x is (batch, C, line, sample) in digital numbers, line and sample multiples of 2**(S + 2);
    y is (batch, M, line / 2**S, sample / 2**S); z is (batch, N, line / 2**(S + 2), sample / 2**(S + 2)).
    """

    def __init__(self, config: HyVICConfig) -> None:
        super().__init__()
        self.config = config
        C, N, M, k = config.bands, config.hyperlatent_channels, config.latent_channels, config.kernel_size

        analysis: list[nn.Module] = [nn.Conv2d(C, N, 1), GDN(N)]
        synthesis: list[nn.Module] = [nn.Conv2d(M, N, 1), GDN(N, inverse=True)]
        for _ in range(config.spatial_stages):
            analysis += [_downsampling(N, N, k), GDN(N)]
            synthesis += [_upsampling(N, N, k), GDN(N, inverse=True)]
        self.g_a = nn.Sequential(*analysis, nn.Conv2d(N, M, 1))
        self.g_s = nn.Sequential(*synthesis, nn.Conv2d(N, C, 1))

        slope = 2.0**-config.leaky_slope_bits
        self.h_a = nn.Sequential(
            nn.Conv2d(M, N, 1),
            nn.LeakyReLU(slope),
            _downsampling(N, N, k),
            nn.LeakyReLU(slope),
            _downsampling(N, N, k),
        )
        self.h_s = nn.Sequential(
            _upsampling(N, M, k),
            nn.LeakyReLU(slope),
            _upsampling(M, 3 * M // 2, k),
            nn.LeakyReLU(slope),
            nn.Conv2d(3 * M // 2, 2 * M, 1),
            Exponential2Scales(),
        )
        self.entropy_bottleneck = EntropyBottleneck(N)
        self.gaussian_conditional = GaussianConditional(None, scale_bound=SCALE_BOUND)

        # Largest magnitudes that D^H's two hidden layers reached on the training scenes, per channel:
        # the exporter's integer network takes its activation ranges from here.
        self.hidden_peak_0: Tensor
        self.hidden_peak_1: Tensor
        self.register_buffer("hidden_peak_0", torch.zeros(M))
        self.register_buffer("hidden_peak_1", torch.zeros(3 * M // 2))

    def analyse(self, x: Tensor) -> Tensor:
        """E: digital numbers to the latent y, in quantiser steps."""
        y: Tensor = self.g_a(x / self.config.peak)
        return y

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """D: quantised latent to digital numbers, not yet rounded."""
        x_hat: Tensor = self.g_s(y_hat) * self.config.peak
        return x_hat

    def forward(self, x: Tensor) -> HyVICOutput:
        """Code x; in training mode rounding is replaced by uniform noise (section III-A)."""
        y = self.analyse(x)
        z_hat, z_likelihoods = self.code_hyperlatent(self.h_a(y))
        scales, means = self.h_s(z_hat).chunk(2, dim=1)
        y_hat, y_likelihoods = self.gaussian_conditional(y, scales, means)
        return HyVICOutput(
            reconstruction=self.synthesise(y_hat),
            latent_likelihoods=y_likelihoods,
            hyperlatent_likelihoods=z_likelihoods,
        )

    def code_hyperlatent(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise z and rate it under the factorised prior.

        CompressAI rounds z − median and adds the median back. Here ẑ is an integer, as the integer
        entropy path needs it; the prior learns where its mass lies either way.
        """
        prior = self.entropy_bottleneck
        z_hat = z + torch.empty_like(z).uniform_(-0.5, 0.5) if self.training else torch.round(z)
        by_channel = z_hat.transpose(0, 1).flatten(1).unsqueeze(1)
        likelihoods, _, _ = prior._likelihood(by_channel)
        likelihoods = prior.likelihood_lower_bound(likelihoods)
        shape = z_hat.transpose(0, 1).shape
        return z_hat, likelihoods.reshape(shape).transpose(0, 1)

    def hidden_activations(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of D^H's two LeakyReLUs, for calibrating the integer entropy path."""
        first = self.h_s[1](self.h_s[0](z_hat))
        return first, self.h_s[3](self.h_s[2](first))

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Raise `hidden_peak_0` and `hidden_peak_1` to what x reaches."""
        z_hat = torch.round(self.h_a(self.analyse(x)))
        peaks = (self.hidden_peak_0, self.hidden_peak_1)
        for peak, hidden in zip(peaks, self.hidden_activations(z_hat), strict=True):
            torch.maximum(peak, hidden.abs().amax(dim=(0, 2, 3)), out=peak)

    def aux_loss(self) -> Tensor:
        """Loss of the factorised prior's quantiles, for the auxiliary optimiser."""
        loss: Tensor = self.entropy_bottleneck.loss()
        return loss

    def parameter_count(self) -> int:
        """Trainable parameters, the factorised prior's included, as the paper counts them."""
        return sum(p.numel() for p in self.parameters())


def _downsampling(inputs: int, outputs: int, kernel_size: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size, stride=2, padding=kernel_size // 2)


def _upsampling(inputs: int, outputs: int, kernel_size: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, kernel_size, stride=2, padding=kernel_size // 2, output_padding=1)
