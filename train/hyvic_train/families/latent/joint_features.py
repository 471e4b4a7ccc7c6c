"""Joint spatial–spectral feature extraction and image reconstruction (seed paper 001, section 3.1).

Each branch leaves one kind of neighbour alone: spatial blocks never mix bands, spectral blocks never mix pixels. What
the text does not give is ours: LeakyReLU between a block's two convolutions, no activation after the sum (so that a
block whose second convolution is zero is the identity), the widths, and reconstruction as the mean of both branches.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor, nn

from hyvic_train.families.latent.model_config import JointConfig


class ResidualBlock(nn.Module):
    """Two layers with LeakyReLU between them, and what they saw added."""

    def __init__(self, into: nn.Module, out: nn.Module, slope: float) -> None:
        super().__init__()
        self.into, self.activation, self.out = into, nn.LeakyReLU(slope, inplace=True), out

    def forward(self, x: Tensor) -> Tensor:
        """(batch, band, line, sample), the same shape in and out."""
        y: Tensor = x + self.out(self.activation(self.into(x)))
        return y


class SpatialBlock(ResidualBlock):
    """Two-layer residual block of grouped convolutions, a group a band (section 3.1.1, figure 2).

    x ─┬─▶ conv 3×3 (1→F a band) ─▶ LeakyReLU ─▶ conv 3×3 (F→1 a band) ─▶ + ─▶
       └──────────────────────────────────────────────────────────────────┘
    """

    def __init__(self, bands: int, features: int, slope: float) -> None:
        into = nn.Conv2d(bands, bands * features, 3, padding=1, groups=bands)
        super().__init__(into, nn.Conv2d(bands * features, bands, 3, padding=1, groups=bands), slope)


class SpectralConvolution(nn.Conv3d):
    """3×1×1 convolution along the bands (section 3.1.2), every band a frame of a sequence.

    Computed pixel by pixel as one product with a matrix of three diagonals: most of its entries are zeros, and still
    processors are several times faster at it than at convolutions of one or two channels.
    """

    def __init__(self, bands: int, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, (3, 1, 1), padding=(1, 0, 0))
        # What each tap brings: (tap, band, band that it takes).
        diagonals = torch.stack([torch.diag(torch.ones(bands - abs(tap - 1)), tap - 1) for tap in range(3)])
        self.diagonals: Tensor
        self.register_buffer("diagonals", diagonals, persistent=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Conv3d's name
        """(batch, inputs × band, line, sample) to (batch, outputs × band, line, sample), a channel's bands together."""
        weight, bias = self.pixelwise()
        return nn.functional.conv2d(input, weight[:, :, None, None], bias)

    def pixelwise(self) -> tuple[Tensor, Tensor]:
        """The product and what it adds: (outputs × band, inputs × band) and (outputs × band,)."""
        bands = self.diagonals.shape[1]
        matrix = torch.einsum("oit,tbc->obic", self.weight[:, :, :, 0, 0], self.diagonals)
        assert self.bias is not None
        weight = matrix.reshape(self.out_channels * bands, self.in_channels * bands)
        return weight, self.bias.repeat_interleave(bands)


class SpectralBlock(ResidualBlock):
    """Two-layer residual block of 3×1×1 convolutions along the bands (section 3.1.2, figure 3).

    x ─┬─▶ conv3d 3×1×1 (1→F) ─▶ LeakyReLU ─▶ conv3d 3×1×1 (F→1) ─▶ + ─▶
       └──────────────────────────────────────────────────────────────┘
    """

    def __init__(self, bands: int, features: int, slope: float) -> None:
        super().__init__(SpectralConvolution(bands, 1, features), SpectralConvolution(bands, features, 1), slope)


class Branches(nn.Module):
    """The spatial branch and, if the configuration has one, the spectral branch: chains of residual blocks."""

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        slope = 2.0**-config.leaky_slope_bits

        def chain(block: Callable[[], nn.Module]) -> nn.Sequential:
            return nn.Sequential(*(block() for _ in range(config.extraction_blocks)))

        chains = [chain(lambda: SpatialBlock(config.bands, config.spatial_features, slope))]
        if config.spectral_branch:
            chains.append(chain(lambda: SpectralBlock(config.bands, config.spectral_features, slope)))
        self.chains = nn.ModuleList(chains)

    @torch.no_grad()
    def make_linear(self) -> None:
        """Become the identity in each branch."""
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                for parameter in module.out.parameters():
                    parameter.zero_()


class FeatureExtraction(Branches):
    """Spectra to spatial and spectral features, concatenated: (batch, C, …) to (batch, branch × C, …)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([chain(x) for chain in self.chains], dim=1)


class ImageReconstruction(Branches):
    """Its mirror: each branch's features through blocks of its kind, then their mean."""

    def forward(self, features: Tensor) -> Tensor:
        parts = features.chunk(len(self.chains), dim=1)
        images = [chain(part) for chain, part in zip(self.chains, parts, strict=True)]
        image: Tensor = reduce(torch.add, images) / len(images)
        return image
