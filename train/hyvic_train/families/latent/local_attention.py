"""Local attention (seed paper 001, section 3.3).

The text gives the equations in words and the figure not at all. Ours where it is silent: the two branches are those of
the attention module of Cheng et al. (CVPR 2020), which the non-local attention of the paper's reference 33 entered, as
CompressAI has them; the positional embedding is one vector for every place in a block, the same in all blocks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hyvic_train.families.latent.compressai_parts import AttentionBlock


class BlockAttention(nn.Module):
    """Attention within non-overlapping blocks, eqs. 5 and 6.

        y_i = 1/C(x) Σ_j f(x_i, x_j) g(x_j),   f(x_i, x_j) = exp(θ(x_i)ᵀ φ(x_j)),   C(x) = Σ_j f(x_i, x_j)
        z_i = W y_i + x_i

    i and j are places of one block. θ and φ see the features and an embedding of their place; θᵀφ is divided by √N, so
    that wide features do not leave one weight alone.

    Shapes: (batch, N, line, sample), line and sample multiples of `block`; the first block starts at the first line and
    sample, so a tile that starts a multiple of `block` into a scene has the scene's blocks.
    """

    def __init__(self, channels: int, block: int) -> None:
        super().__init__()
        self.block = block
        self.position = nn.Parameter(torch.randn(channels, block, block) * 0.02)
        self.theta = nn.Conv2d(channels, channels, 1)
        self.phi = nn.Conv2d(channels, channels, 1)
        self.g = nn.Conv2d(channels, channels, 1)
        self.w = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, channels, lines, samples = x.shape
        placed = x + self.position.repeat(1, lines // self.block, samples // self.block)
        theta, phi, g = self._blocks(self.theta(placed)), self._blocks(self.phi(placed)), self._blocks(self.g(x))
        weight = torch.softmax(theta @ phi.transpose(-1, -2) * channels**-0.5, dim=-1)
        z: Tensor = self.w(self._picture(weight @ g, lines, samples)) + x
        return z

    def _blocks(self, x: Tensor) -> Tensor:
        """Cut (batch, N, line, sample) to (batch, block line, block sample, place in the block, N)."""
        batch, channels, lines, samples = x.shape
        b = self.block
        cut = x.reshape(batch, channels, lines // b, b, samples // b, b)
        return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, lines // b, samples // b, b * b, channels)

    def _picture(self, blocks: Tensor, lines: int, samples: int) -> Tensor:
        """Invert `_blocks`."""
        b, channels = self.block, blocks.shape[-1]
        placed = blocks.reshape(len(blocks), lines // b, samples // b, b, b, channels)
        return placed.permute(0, 5, 1, 3, 2, 4).reshape(len(blocks), channels, lines, samples)


class LocalAttention(nn.Module):
    """The attention module, figure 5a: features, and beside them features weighed by a mask.

        x ─┬──────────────────────────────────────────────────┬─▶ + ─▶
           ├─▶ 3 residual blocks, conv 1×1 ─────────────▶ × ──┘
           └─▶ BlockAttention, 3 residual blocks, conv 1×1, sigmoid ─▶ ┘ (the mask)

        residual block (figure 5b): conv 1×1 (N→N/2), ReLU, conv 3×3, ReLU, conv 1×1 (N/2→N), + its input, ReLU

    The 1×1 convolution of the first branch is ours: from zero, the module is the identity, where training starts.
    """

    def __init__(self, channels: int, block: int) -> None:
        super().__init__()
        self.branches = AttentionBlock(channels)
        self.branches.conv_a.append(nn.Conv2d(channels, channels, 1))
        self.branches.conv_b.insert(0, BlockAttention(channels, block))

    def forward(self, x: Tensor) -> Tensor:
        weighed: Tensor = self.branches(x)
        return weighed

    @torch.no_grad()
    def make_linear(self) -> None:
        """Become the identity."""
        last: Any = self.branches.conv_a[-1]
        last.weight.zero_()
        last.bias.zero_()
