"""The joint spatial–spectral attention codec.

Source: seed paper 001, an end-to-end lossy codec of hyperspectral images by joint spatial–spectral feature extraction
and local attention, section 3. Its text names the modules and gives neither widths nor counts. Widths and counts are
ours, and stand in the configuration (`JointConfig`). C, M, N, y and z are used as for HyVIC.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hyvic_train.entropy_path_layer import Arithmetic, EntropyPathLayer
from hyvic_train.families.latent.codec_model import (
    CodecModel,
    CodedLatent,
    downsampling,
    hyper_encoder,
    upsampling,
)
from hyvic_train.families.latent.compressai_parts import GDN
from hyvic_train.families.latent.joint_features import Branches, FeatureExtraction, ImageReconstruction
from hyvic_train.families.latent.local_attention import LocalAttention
from hyvic_train.families.latent.model_config import JointConfig
from hyvic_train.families.latent.slice_entropy_model import Code, SliceEntropyModel


class JointCodec(CodecModel):
    """Separate extraction of spatial and spectral features, their fusion, and a channel-wise autoregressive prior.

        x ─┬─▶ spatial blocks ──┬─▶ E ─▶ y ─┬────────────────▶ Q ─▶ s ─▶ AE │ AD ─▶ s ─▶ s + μ + r = ŷ
           └─▶ spectral blocks ─┘           │                  ▲            │
                                            ▼                  │ μ_i, σ_i   │
                                           E^H ─▶ z ─▶ Q ─▶ ẑ ─▶ D^H ─▶ slices ◀─ ŷ_<i

        ŷ ─▶ D ─┬─▶ spatial blocks ──┬─▶ mean ─▶ x̂
                └─▶ spectral blocks ─┘

        spatial  : residual blocks of grouped convolutions, no mixing of bands        (section 3.1.1)
        spectral : residual blocks of 3×1×1 convolutions, no mixing of pixels         (section 3.1.2)
        E        : conv 1×1 (2C→N), GDN, S × [conv k×k /2 (N→N), GDN, attention], conv 1×1 (N→M)     (section 3.2)
        E^H      : conv 1×1 (M→H), LeakyReLU, conv k×k /2 (H→H), LeakyReLU, conv k×k /2 (H→H)
        D^H      : conv k×k ×2 (H→M), LeakyReLU, conv k×k ×2 (M→3M/2), LeakyReLU
        slices   : σ_i, μ_i and r_i, the predicted rest of rounding, from D^H and ŷ_<i   (slice_entropy_model)
        D        : conv 1×1 (M→N), IGDN, S × [attention, conv k×k ×2 (N→N), IGDN], conv 1×1 (N→2C)
        attention: after the middle stage and the last (section 3.3, local_attention)

    Module names are CompressAI's (g_a is extraction and E, h_a = E^H, h_s = D^H, g_s is D and reconstruction).

    The pixelwise convolutions at both ends of E and D and the hyper-transforms are HyVIC's: the paper says
    "convolutional downsampling modules" and no more, and this way every stage has a KLT to start from. The networks
    give log2 σ, as HyVIC's do.

    In training the rate is that of y with uniform noise, and what is decoded is y rounded, straight-through, as Minnen
    & Singh do (section 3.2); ẑ is noisy in both.

    Shapes: x is (batch, C, line, sample) in digital numbers, line and sample multiples of `config.cell`;
    y is (batch, M, line / 2**S, sample / 2**S); z is (batch, H, line / 2**(S + 2), sample / 2**(S + 2)).
    """

    decodes_noise = False

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self._config = config
        M, N, H, k = config.latent_channels, config.feature_channels, config.hyperlatent_channels, config.kernel_size
        features = config.bands * (2 if config.spectral_branch else 1)

        def attention(stage: int) -> list[nn.Module]:
            return [LocalAttention(N, config.attention_block)] if stage in config.attention_stages else []

        analysis: list[nn.Module] = [FeatureExtraction(config), nn.Conv2d(features, N, 1), GDN(N), *attention(0)]
        synthesis: list[nn.Module] = [*attention(0), nn.Conv2d(N, features, 1), ImageReconstruction(config)]
        for stage in range(1, config.spatial_stages + 1):
            analysis += [downsampling(N, N, k), GDN(N), *attention(stage)]
            synthesis = [*attention(stage), upsampling(N, N, k), GDN(N, inverse=True), *synthesis]
        self.g_a = nn.Sequential(*analysis, nn.Conv2d(N, M, 1))
        self.g_s = nn.Sequential(nn.Conv2d(M, N, 1), GDN(N, inverse=True), *synthesis)

        slope = 2.0**-config.leaky_slope_bits
        self.h_a = hyper_encoder(config, H, slope)
        self.h_s = nn.ModuleList(
            (EntropyPathLayer(upsampling(H, M, k), slope), EntropyPathLayer(upsampling(M, 3 * M // 2, k), slope))
        )
        self.slices = SliceEntropyModel(3 * M // 2, config)
        self._add_entropy_models()

    @property
    def config(self) -> JointConfig:
        """Architecture of the model."""
        return self._config

    def code_latent(self, z_hat: Tensor, code: Code, arithmetic: Arithmetic = Arithmetic.REAL) -> CodedLatent:
        """Go through the slices of ŷ, predicted from ẑ; encoder and decoder differ in `code` alone."""
        hidden = z_hat
        for layer in self.h_s:
            hidden = layer(hidden, arithmetic)
        coded: CodedLatent = self.slices(hidden, code, arithmetic)
        return coded

    def noisy(self, residual: Tensor) -> Tensor:
        return residual + self.noise(residual)

    def quantise(self, y: Tensor, z_hat: Tensor, arithmetic: Arithmetic = Arithmetic.REAL) -> CodedLatent:
        return self.code_latent(z_hat, symbols_of(y), arithmetic)

    def make_linear(self) -> None:
        super().make_linear()
        for layer in (*self.g_a, *self.g_s):
            if isinstance(layer, LocalAttention | Branches):
                layer.make_linear()

    def start_entropy_path(self, mean: Tensor, spread: Tensor) -> None:
        self.slices.start(mean, spread)


def symbols_of(y: Tensor) -> Code:
    """Return the encoder's code: y − μ rounded, to the bit, with the gradient of y − μ."""

    def code(channels: slice, means: Tensor) -> Tensor:
        residual = y[:, channels] - means
        return torch.round(residual) + (residual - residual.detach())

    return code
