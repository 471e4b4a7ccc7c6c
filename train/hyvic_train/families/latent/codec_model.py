"""Base of the latent codecs: transforms around a quantised latent, a hyperprior, and gains for a range of rates.

Loss, validation, KLT initialisation and training know a model by this class alone. A codec adds its networks and its
prediction of the latent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hyvic_train.entropy_path_layer import Arithmetic
from hyvic_train.families.latent.compressai_parts import EntropyBottleneck, GaussianConditional
from hyvic_train.families.latent.model_config import ModelConfig
from hyvic_train.integer_path import SCALE_BOUND

_GDN_GAMMA = 1e-4
"""Start of GDN's diagonal γ. Stage outputs reach tens in normalised units, so x·√(1 + γx²) ≈ x, while the
reparametrised γ (a square) is far enough from zero to receive a gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecOutput:
    """Result of one pass.

    Attributes:
        reconstruction: x̂ in digital numbers, (batch, band, line, sample).
        latent_likelihoods: p(ŷ | ẑ), (batch, M, line, sample).
        hyperlatent_likelihoods: p(ẑ), (batch, channel, line, sample).
    """

    reconstruction: Tensor
    latent_likelihoods: Tensor
    hyperlatent_likelihoods: Tensor

    def bits(self) -> Tensor:
        """Return −log2 p(ŷ, ẑ) of every item, (batch,): the entropy model's estimate of its stream's length."""
        latent, hyper = (p.log2().sum(dim=(1, 2, 3)) for p in (self.latent_likelihoods, self.hyperlatent_likelihoods))
        return -(latent + hyper)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedLatent:
    """Quantised latent with its distribution; each (batch, M, line, sample), in quantiser steps.

    Attributes:
        y_hat: ŷ, the decoded latent.
        symbols: integers that are coded.
        scales: σ.
        means: μ.
    """

    y_hat: Tensor
    symbols: Tensor
    scales: Tensor
    means: Tensor


def uniform_noise(shape: Sequence[int], device: torch.device) -> Tensor:
    """Draw noise that stands for rounding in training: uniform in ±1/2 (Ballé et al., ICLR 2017)."""
    return torch.rand(tuple(shape), device=device) - 0.5


class CodecModel(nn.Module, ABC):
    """A variational codec with a hyperprior.

    With `config.rates` > 1, the encoder's output is multiplied by a gain a channel and the decoder's input by another,
    a pair of vectors for every rate level, geometrically interpolated between them (Cui et al., Asymmetric Gained Deep
    Image Compression With Continuous Rate Adaptation, CVPR 2021). With one rate there are no gains.

    Attributes:
        g_a: encoder of pixels over the peak; sequential, with the convolutions that the KLT fills as children.
        g_s: decoder, the mirror of g_a.
        h_a: hyper-encoder of latents times their gain.
        noise: makes the noise that replaces rounding in training, of the shape of its argument.
        arithmetic: arithmetic of the entropy path in `forward`; ROUNDED lets training feel the integer form.
        decodes_noise: whether training decodes the noisy latent; otherwise the rounded one, straight-through.
    """

    decodes_noise: ClassVar[bool] = True
    g_a: nn.Sequential
    g_s: nn.Sequential
    h_a: nn.Sequential
    arithmetic: Arithmetic

    def __init__(self) -> None:
        super().__init__()
        self.noise: Callable[[Tensor], Tensor] = lambda like: uniform_noise(like.shape, like.device)
        self.arithmetic = Arithmetic.REAL

    def _add_entropy_models(self) -> None:
        """Add the prior of ẑ, the Gaussians of ŷ and the gains, after the transforms, whose weights are drawn first."""
        config = self.config
        self.entropy_bottleneck = EntropyBottleneck(config.hyperlatent_channels)
        self.gaussian_conditional = GaussianConditional(None, scale_bound=SCALE_BOUND)
        if config.rates > 1:
            self.log2_gain = nn.Parameter(torch.zeros(config.rates, config.latent_channels))
            self.log2_inverse_gain = nn.Parameter(torch.zeros(config.rates, config.latent_channels))

    @property
    @abstractmethod
    def config(self) -> ModelConfig:
        """Architecture of the model."""

    def forward(self, x: Tensor, level: Tensor | None = None) -> CodecOutput:
        """Code x; in training mode uniform noise replaces rounding in what is rated (seed paper, section III-A).

        Args:
            x: (batch, band, line, sample) digital numbers, lines and samples multiples of `config.cell`.
            level: (batch,) rate level of every item; by default the lowest, the only one of a fixed-rate model.
        """
        gain, inverse_gain = self.gains(x.new_zeros(len(x)) if level is None else level)
        y = self.analyse(x)
        # Latents reach hundreds of quantiser steps: under autocast only the transforms are in half precision.
        with torch.autocast(x.device.type, enabled=False):
            y = y.float() * gain
            z_hat, z_likelihoods = self.code_hyperlatent(self.h_a(y))
            coded = self.quantise(y, z_hat, self.arithmetic)
            rated = self.noisy(y - coded.means) if self.training else coded.symbols
            likelihoods = self.latent_likelihoods(rated, coded.scales)
            y_hat = (rated + coded.means if self.decodes_noise else coded.y_hat) * inverse_gain
        return CodecOutput(
            reconstruction=self.synthesise(y_hat).float(),
            latent_likelihoods=likelihoods,
            hyperlatent_likelihoods=z_likelihoods,
        )

    def noisy(self, residual: Tensor) -> Tensor:
        """Add noise to y − μ. The first term decides the memory layout, and so the last bit of later sums."""
        return self.noise(residual) + residual

    @abstractmethod
    def quantise(self, y: Tensor, z_hat: Tensor, arithmetic: Arithmetic = Arithmetic.REAL) -> CodedLatent:
        """Round a latent, with its gain applied, around its prediction from ẑ."""

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Raise `peaks` to the magnitudes of x at any rate level."""
        y = self.analyse(x)
        for level in range(self.config.rates):
            gain, _ = self.gains(y.new_full((len(y),), level))
            self.quantise(y * gain, self._rounded(self.h_a(y * gain)), Arithmetic.OBSERVED)

    @abstractmethod
    def start_entropy_path(self, mean: Tensor, spread: Tensor) -> None:
        """Start from a prediction of every latent by the statistics of its channel; without gradient.

        Args:
            mean: (M,) means of the channels.
            spread: (M,) standard deviations, above zero.
        """

    @property
    def foreign_weights_obstacle(self) -> str | None:
        """Reason why a state_dict of CompressAI does not fit this model; None: it fits."""
        return "CompressAI has no model of this family; take a checkpoint of train-model"

    @property
    def medians(self) -> Tensor:
        """Difference of ẑ from an integer, (hyper-latent channel,)."""
        return torch.zeros_like(self.entropy_bottleneck.quantiles[:, 0, 1].detach())

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    def batch_of(self, cube: NDArray[np.float32]) -> Tensor:
        """Return a cube (band, line, sample) as a batch of one, where the weights lie."""
        return torch.from_numpy(cube)[None].to(self.device)

    @property
    def peaks(self) -> dict[str, Tensor]:
        """Buffers of the largest magnitudes that the entropy path reached on the training scenes, per channel.

        The exporter's integer network takes its activation ranges from here.
        """
        return {name: buffer for name, buffer in self.named_buffers() if "_peak" in name}

    def analyse(self, x: Tensor) -> Tensor:
        """Transform digital numbers to the latent y, in quantiser steps."""
        y: Tensor = self.g_a(x / self.config.peak)
        return y

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Transform a quantised latent to digital numbers, not yet rounded."""
        x_hat: Tensor = self.g_s(y_hat) * self.config.peak
        return x_hat

    def gains(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return gain and inverse gain of rate levels.

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

    def latent_likelihoods(self, residual: Tensor, scales: Tensor) -> Tensor:
        """Return p(ŷ | ẑ) of ŷ − μ under Gaussians of standard deviation σ, all in quantiser steps."""
        likelihoods: Tensor = self.gaussian_conditional._likelihood(residual, scales)
        bounded: Tensor = self.gaussian_conditional.likelihood_lower_bound(likelihoods)
        return bounded

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

    @torch.no_grad()
    def make_linear(self) -> None:
        """Make encoder and decoder almost linear; the little that is left gives its parameters a gradient."""
        layer: Any
        for layer in (*self.g_a, *self.g_s):
            if hasattr(layer, "gamma_reparam"):
                layer.beta.copy_(layer.beta_reparam.init(torch.ones_like(layer.beta)))
                layer.gamma.copy_(layer.gamma_reparam.init(_GDN_GAMMA * torch.eye(layer.gamma.shape[0])))

    def use_channels_last(self) -> None:
        """Lay pixels out as vectors of bands, so that pixelwise convolutions are matrix products."""
        for parameter in self.parameters():
            if parameter.dim() == 4:  # torch's own way stumbles over the kernels of three dimensions
                parameter.data = parameter.data.to(memory_format=torch.channels_last)

    def transform_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of encoder and decoder; the others are the entropy model's."""
        yield from self.g_a.parameters()
        yield from self.g_s.parameters()

    def aux_loss(self) -> Tensor:
        """Return the loss of the factorised prior's quantiles, for the auxiliary optimiser."""
        loss: Tensor = self.entropy_bottleneck.loss()
        return loss


def hyper_encoder(config: ModelConfig, width: int, slope: float) -> nn.Sequential:
    """Build E^H of HyVIC: conv 1×1 (M→width), LeakyReLU, conv k×k /2, LeakyReLU, conv k×k /2."""
    k = config.kernel_size
    return nn.Sequential(
        nn.Conv2d(config.latent_channels, width, 1),
        nn.LeakyReLU(slope),
        downsampling(width, width, k),
        nn.LeakyReLU(slope),
        downsampling(width, width, k),
    )


def downsampling(inputs: int, outputs: int, kernel_size: int) -> nn.Conv2d:
    """Build a strided convolution to half as many lines and samples."""
    return nn.Conv2d(inputs, outputs, kernel_size, stride=2, padding=kernel_size // 2)


def upsampling(inputs: int, outputs: int, kernel_size: int) -> nn.ConvTranspose2d:
    """Build the transpose of `downsampling`, to twice as many lines and samples."""
    return nn.ConvTranspose2d(inputs, outputs, kernel_size, stride=2, padding=kernel_size // 2, output_padding=1)
