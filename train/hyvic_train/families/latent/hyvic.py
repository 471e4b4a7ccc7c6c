"""HyVIC: variational codec with balanced spatial and spectral feature learning.

Source: Fuchs, Rasti, Demir, "HyVIC: A Metric-Driven Spatio-Spectral Hyperspectral Image Compression
Architecture Based on Variational Autoencoders", section III. C, N, M, k, S, y and z are the paper's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hyvic_train.entropy_path_layer import Arithmetic, held
from hyvic_train.families.latent.codec_model import (
    CodecModel,
    CodedLatent,
    downsampling,
    hyper_encoder,
    upsampling,
)
from hyvic_train.families.latent.compressai_parts import GDN
from hyvic_train.families.latent.model_config import HyVICConfig
from hyvic_train.integer_path import rounded_log2_scale, rounded_mean, rounded_scale


class HyVIC(CodecModel):
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

    With one rate there are no gains: the paper's model.

    Shapes: x is (batch, C, line, sample) in digital numbers, line and sample multiples of 2**(S + 2);
    y is (batch, M, line / 2**S, sample / 2**S); z is (batch, N, line / 2**(S + 2), sample / 2**(S + 2)).
    """

    def __init__(self, config: HyVICConfig) -> None:
        super().__init__()
        self._config = config
        C, N, M, k = config.bands, config.hyperlatent_channels, config.latent_channels, config.kernel_size

        analysis: list[nn.Module] = [nn.Conv2d(C, N, 1), GDN(N)]
        synthesis: list[nn.Module] = [nn.Conv2d(M, N, 1), GDN(N, inverse=True)]
        for _ in range(config.spatial_stages):
            analysis += [downsampling(N, N, k), GDN(N)]
            synthesis += [upsampling(N, N, k), GDN(N, inverse=True)]
        self.g_a = nn.Sequential(*analysis, nn.Conv2d(N, M, 1))
        self.g_s = nn.Sequential(*synthesis, nn.Conv2d(N, C, 1))

        slope = config.negative_slope
        self.h_a = hyper_encoder(config, N, slope)
        self.h_s = nn.Sequential(
            upsampling(N, M, k),
            nn.LeakyReLU(slope),
            upsampling(M, 3 * M // 2, k),
            nn.LeakyReLU(slope),
            nn.Conv2d(3 * M // 2, 2 * M, 1),
        )
        self._add_entropy_models()

        # Peaks of D^H's two hidden layers.
        self.hidden_peak_0: Tensor
        self.hidden_peak_1: Tensor
        self.register_buffer("hidden_peak_0", torch.zeros(M))
        self.register_buffer("hidden_peak_1", torch.zeros(3 * M // 2))

    @property
    def config(self) -> HyVICConfig:
        """Architecture of the model."""
        return self._config

    @property
    def medians(self) -> Tensor:
        """Difference of ẑ from an integer, (N,): zero unless the hyperprior is CompressAI's."""
        quantiles: Tensor = self.entropy_bottleneck.quantiles
        return quantiles[:, 0, 1].detach() if self.config.hyperprior == "compressai" else super().medians

    @property
    def foreign_weights_obstacle(self) -> str | None:
        if self.config.hyperprior != "compressai":
            return "set model.hyperprior=compressai to read it as it was meant"
        if self.config.leaky_slope is None:
            return "it does not name LeakyReLU's slope; set model.leaky_slope, which is 0.01 by torch's default"
        return None

    def scales_and_means(self, z_hat: Tensor, arithmetic: Arithmetic = Arithmetic.REAL) -> tuple[Tensor, Tensor]:
        """Apply D^H: ẑ to σ and μ of every latent, each (batch, M, line, sample), in quantiser steps."""
        hidden = z_hat
        for index, peak in ((0, self.hidden_peak_0), (2, self.hidden_peak_1)):
            hidden = self.h_s[index + 1](self.h_s[index](hidden))
            hidden = held(peak, hidden, arithmetic, training=self.training)
        scales, means = self.h_s[4](hidden).chunk(2, dim=1)
        logarithmic = self.config.hyperprior == "log2"
        if arithmetic is Arithmetic.ROUNDED:
            scales = rounded_log2_scale(scales) if logarithmic else rounded_scale(scales)
            means = rounded_mean(means)
        # 2**12 quantiser steps exceed any latent; the clamp keeps a diverging run finite.
        return torch.exp2(scales.clamp(-8.0, 12.0)) if logarithmic else scales, means

    def quantise(self, y: Tensor, z_hat: Tensor, arithmetic: Arithmetic = Arithmetic.REAL) -> CodedLatent:
        scales, means = self.scales_and_means(z_hat, arithmetic)
        symbols = torch.round(y - means)
        return CodedLatent(y_hat=symbols + means, symbols=symbols, scales=scales, means=means)

    @torch.no_grad()
    def start_entropy_path(self, mean: Tensor, spread: Tensor) -> None:
        fuse = self.h_s[4]
        assert isinstance(fuse, nn.Conv2d)
        assert fuse.bias is not None
        fuse.weight.mul_(0.1)
        scale = spread.log2() if self.config.hyperprior == "log2" else spread
        fuse.bias.copy_(torch.cat((scale, mean)))
