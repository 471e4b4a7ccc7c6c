"""Loss of training: eq. 2 at every rate level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hyvic_train.families.latent.codec_model import CodecModel


@dataclass(frozen=True, slots=True, kw_only=True)
class RateDistortion:
    """Rate and distortion, the two terms of eq. 2.

    Attributes:
        rate_bpppb: estimated bits per pixel per band.
        mse: mean squared error in squared digital numbers.
    """

    rate_bpppb: float
    mse: float

    def psnr(self, peak: float) -> float:
        """Return eq. 5, in dB; infinite without an error."""
        return 10 * math.log10(peak**2 / self.mse) if self.mse else math.inf

    @property
    def compression_ratio(self) -> float:
        """Ratio of eq. 4 for samples of 16 bits."""
        return 16 / self.rate_bpppb if self.rate_bpppb else math.inf

    def loss(self, lmbda: float) -> float:
        """Return eq. 2."""
        return self.rate_bpppb + lmbda * self.mse


def level_weights(lmbdas: Sequence[float]) -> tuple[float, ...]:
    """Return the factors of the levels' losses: 1/√λ over its geometric mean, so 1 for a single λ.

    The least loss R + λD that a level can reach grows about as √λ over the decades of interest. Unweighted, the
    gradients of the highest λ would drown the others'.
    """
    middle = math.exp(sum(map(math.log, lmbdas)) / len(lmbdas))
    return tuple(math.sqrt(middle / lmbda) for lmbda in lmbdas)


class Objective(nn.Module):
    """Loss of a batch by eq. 2, bits per sample + λ · mean squared error, plus the auxiliary loss.

    The two need no backward pass each: the auxiliary loss reaches the prior's quantiles and nothing else, which
    eq. 2 does not touch.
    """

    def __init__(self, model: CodecModel, lmbdas: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self._lmbda, self._weight = torch.tensor(lmbdas), torch.tensor(level_weights(lmbdas))

    def forward(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute rate and distortion of a batch.

        Args:
            x: (batch, band, line, sample) digital numbers.
            level: (batch,) rate level of every item, int64.

        Returns:
            Both losses added; rate in bits per sample and mean squared error of every item, (batch,) each, detached.
        """
        output = self.model(x, level.to(x.dtype))
        rate = output.bits() / x[0].numel()
        mse = (x - output.reconstruction).square().mean(dim=(1, 2, 3))
        lmbda, weight = self._lmbda.to(x.device)[level], self._weight.to(x.device)[level]
        loss = (weight * (rate + lmbda * mse)).mean()
        return loss + self.model.aux_loss(), rate.detach(), mse.detach()


def levels_of_step(step: int, count: int, rates: int) -> Tensor:
    """Return the rate level of every item of a step's batch, (count,): all levels in turn, for any size of batch."""
    return (torch.arange(count) + step * count) % rates
