"""HyVIC: variational codec with balanced spatial and spectral feature learning.

Source: Fuchs, Rasti, Demir, "HyVIC: A Metric-Driven Spatio-Spectral Hyperspectral Image Compression
Architecture Based on Variational Autoencoders", section III. C, N, M, k, S, y and z are the paper's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # compressai 1.2.8 imports torch's deprecated torch.jit
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.layers import GDN

from hyvic_train.config import HyVICConfig
from hyvic_train.integer_path import (
    SCALE_BOUND,
    hidden_step,
    raise_peak,
    rounded_hidden,
    rounded_log2_scale,
    rounded_mean,
    rounded_scale,
)


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
        """−log2 p(ŷ, ẑ) of every item, (batch,): the entropy model's estimate of its stream's length."""
        latent, hyper = (p.log2().sum(dim=(1, 2, 3)) for p in (self.latent_likelihoods, self.hyperlatent_likelihoods))
        return -(latent + hyper)


def uniform_noise(shape: Sequence[int], device: torch.device) -> Tensor:
    """What stands for rounding in training: uniform in ±1/2 (section III-A)."""
    return torch.rand(tuple(shape), device=device) - 0.5


class HyVIC(nn.Module):
    """The adjustable spatio-spectral codec.

        x ─▶ E ─▶ y ─┬─────────────────▶ Q ─▶ ŷ ─▶ AE │ AD ─▶ ŷ ─▶ D ─▶ x̂
                     │                   ▲            │
                     ▼                   │ μ, σ       │
                    E^H ─▶ z ─▶ Q ─▶ ẑ ─▶ D^H         │ AE^H, AD^H: factorised prior

        E   : conv 1×1 (C→N), GDN, S × [conv k×k /2 (N→N), GDN], conv 1×1 (N→M)
        E^H : conv 1×1 (M→N), LeakyReLU, conv k×k /2 (N→N), LeakyReLU, conv k×k /2 (N→N)
        D^H : conv k×k ×2 (N→M), LeakyReLU, conv k×k ×2 (M→3M/2), LeakyReLU, conv 1×1 (3M/2→2M)
        D   : conv 1×1 (M→N), IGDN, S × [conv k×k ×2 (N→N), IGDN], conv 1×1 (N→C)

    Module names are CompressAI's (g_a = E, h_a = E^H, h_s = D^H, g_s = D).

    The paper does not say how D^H keeps σ positive over its range. Here it gives log2 σ and μ: channels of
    σ = 0.2 and σ = 300 get the same relative resolution, and the integer form of log2 σ is an index straight into
    the scale table (Ballé et al., Integer Networks, ICLR 2019). With `hyperprior: compressai` D^H gives σ itself.

    With `config.rates` > 1, E's output is multiplied by a gain a channel and D's input by another, a pair of
    vectors for every rate level, geometrically interpolated between them (Cui et al., Asymmetric Gained Deep Image
    Compression With Continuous Rate Adaptation, CVPR 2021). With one rate there are no gains: the paper's model.

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
        )
        self.entropy_bottleneck = EntropyBottleneck(N)
        self.gaussian_conditional = GaussianConditional(None, scale_bound=SCALE_BOUND)
        if config.rates > 1:
            self.log2_gain = nn.Parameter(torch.zeros(config.rates, M))
            self.log2_inverse_gain = nn.Parameter(torch.zeros(config.rates, M))

        self.noise: Callable[[Tensor], Tensor] = lambda like: uniform_noise(like.shape, like.device)
        self.integer_path = False
        """Whether D^H rounds as its integer form will, straight-through, so that training feels it."""

        # Largest magnitudes that D^H's two hidden layers reached on the training scenes, per channel:
        # the exporter's integer network takes its activation ranges from here.
        self.hidden_peak_0: Tensor
        self.hidden_peak_1: Tensor
        self.register_buffer("hidden_peak_0", torch.zeros(M))
        self.register_buffer("hidden_peak_1", torch.zeros(3 * M // 2))

    @property
    def medians(self) -> Tensor:
        """What ẑ is beside an integer, (N,): zero unless the hyperprior is CompressAI's."""
        quantiles: Tensor = self.entropy_bottleneck.quantiles
        medians = quantiles[:, 0, 1].detach()
        return medians if self.config.hyperprior == "compressai" else torch.zeros_like(medians)

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return self.hidden_peak_0.device

    def analyse(self, x: Tensor) -> Tensor:
        """E: digital numbers to the latent y, in quantiser steps."""
        y: Tensor = self.g_a(x / self.config.peak)
        return y

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """D: quantised latent to digital numbers, not yet rounded."""
        x_hat: Tensor = self.g_s(y_hat) * self.config.peak
        return x_hat

    def gains(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and inverse gain of rate levels.

        Args:
            level: (batch,), 0 … rates − 1; between two levels the gains are interpolated geometrically.

        Returns:
            Factors of y and of ŷ, each (batch, M, 1, 1).
        """
        if self.config.rates == 1:
            ones = torch.ones(len(level), self.config.latent_channels, 1, 1, device=level.device)
            return ones, ones
        below = level.floor().long().clamp(0, self.config.rates - 2)
        share = (level - below)[:, None]
        gain, inverse = (
            torch.exp2(table[below] * (1 - share) + table[below + 1] * share)[:, :, None, None]
            for table in (self.log2_gain, self.log2_inverse_gain)
        )
        return gain, inverse

    def forward(self, x: Tensor, level: Tensor | None = None) -> HyVICOutput:
        """Code x; in training mode rounding is replaced by uniform noise (section III-A).

        Args:
            x: (batch, C, line, sample) digital numbers.
            level: (batch,) rate level of every item; by default the lowest, which is all a fixed-rate model has.
        """
        gain, inverse_gain = self.gains(x.new_zeros(len(x)) if level is None else level)
        y = self.analyse(x)
        # Latents reach hundreds of quantiser steps: under autocast only the transforms are in half precision.
        with torch.autocast(x.device.type, enabled=False):
            y = y.float() * gain
            z_hat, z_likelihoods = self.code_hyperlatent(self.h_a(y))
            scales, means = self.scales_and_means(z_hat)
            residual = self.noise(y) + (y - means) if self.training else torch.round(y - means)
            likelihoods = self.gaussian_conditional._likelihood(residual, scales)
            likelihoods = self.gaussian_conditional.likelihood_lower_bound(likelihoods)
            y_hat = (residual + means) * inverse_gain
        return HyVICOutput(
            reconstruction=self.synthesise(y_hat).float(),
            latent_likelihoods=likelihoods,
            hyperlatent_likelihoods=z_likelihoods,
        )

    def code_hyperlatent(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise z and rate it under the factorised prior.

        CompressAI rounds z − median and adds the median back. Here ẑ is an integer, as suits the integer
        entropy path; the prior learns where its mass lies either way.
        """
        prior = self.entropy_bottleneck
        z_hat = z + self.noise(z) if self.training else self._rounded(z)
        by_channel = z_hat.transpose(0, 1).flatten(1).unsqueeze(1)
        likelihoods, _, _ = prior._likelihood(by_channel)
        likelihoods = prior.likelihood_lower_bound(likelihoods)
        shape = z_hat.transpose(0, 1).shape
        return z_hat, likelihoods.reshape(shape).transpose(0, 1)

    def _rounded(self, z: Tensor) -> Tensor:
        medians = self.medians[:, None, None]
        return torch.round(z - medians) + medians

    def scales_and_means(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """D^H: ẑ to σ and μ of every latent, each (batch, M, line, sample), in quantiser steps."""
        hidden = z_hat
        for index, peak in ((0, self.hidden_peak_0), (2, self.hidden_peak_1)):
            hidden = self.h_s[index + 1](self.h_s[index](hidden))
            if self.integer_path:
                if self.training:
                    raise_peak(peak, hidden)
                hidden = rounded_hidden(hidden, hidden_step(peak)[:, None, None])
        scales, means = self.h_s[4](hidden).chunk(2, dim=1)
        logarithmic = self.config.hyperprior == "log2"
        if self.integer_path:
            scales = rounded_log2_scale(scales) if logarithmic else rounded_scale(scales)
            means = rounded_mean(means)
        # 2**12 quantiser steps exceed any latent; the clamp keeps a diverging run finite.
        return torch.exp2(scales.clamp(-8.0, 12.0)) if logarithmic else scales, means

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Raise `hidden_peak_0` and `hidden_peak_1` to what x reaches at any rate level."""
        y = self.analyse(x)
        for level in range(self.config.rates):
            gain, _ = self.gains(y.new_full((len(y),), level))
            hidden = self._rounded(self.h_a(y * gain))
            for index, peak in ((0, self.hidden_peak_0), (2, self.hidden_peak_1)):
                hidden = self.h_s[index + 1](self.h_s[index](hidden))
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
