"""Distributions of symbols and hyper-latents, in double precision."""

from __future__ import annotations

import numpy as np
import torch
from hyvic_train.families.latent.codec_model import CodecModel
from numpy.typing import NDArray
from scipy.special import ndtr

from hyvic_export.frequency_tables import Distribution

TAIL_MASS = 2.0**-24
"""Largest probability that a row leaves to its escape: less than one part of a frequency table."""

MAX_HYPERLATENT = 1023
"""Bound of |ẑ|. The encoder clamps ẑ to the table, and the integer network needs small operands."""


def gaussians(scales: NDArray[np.float64]) -> list[Distribution]:
    """Make Gaussians of mean zero, convolved with a unit-wide uniform, at the integers (eq. 1).

    Args:
        scales: (row,) standard deviations in quantiser steps.
    """
    rows = []
    for scale in scales:
        # 5.5 standard deviations leave less than TAIL_MASS on both sides together.
        reach = int(np.ceil(5.5 * scale + 0.5))
        # Below the mean both terms are lower tails, which double precision resolves to 1e-300; mirrored.
        lower = np.arange(-reach, 1)
        half = ndtr((lower + 0.5) / scale) - ndtr((lower - 0.5) / scale)
        rows.append(Distribution(first=-reach, mass=np.concatenate((half, half[-2::-1]))))
    return rows


@torch.no_grad()
def factorised_prior(model: CodecModel) -> list[Distribution]:
    """Evaluate the factorised prior at every integer beside the median, a row per hyper-latent channel.

    A row spans the integers that carry all but TAIL_MASS, and at least -1..1.

    Raises:
        ValueError: the mass of a channel lies beyond ±MAX_HYPERLATENT.
    """
    prior = model.entropy_bottleneck.double()
    try:
        integers = torch.arange(-MAX_HYPERLATENT, MAX_HYPERLATENT + 1, dtype=torch.float64)
        samples = integers + model.medians.double()[:, None, None]
        _, lower, upper = prior._likelihood(samples)
        # Where both logits are positive, subtract the upper tails: sigmoid rounds to 1 there.
        sign = torch.where(lower + upper > 0, -1.0, 1.0)
        mass = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()[:, 0].numpy()
        at_or_below = torch.sigmoid(upper)[:, 0].numpy()
        at_or_above = torch.sigmoid(-lower)[:, 0].numpy()
    finally:
        model.entropy_bottleneck.float()
    rows = []
    for channel in range(len(mass)):
        inside = np.flatnonzero((at_or_below[channel] > TAIL_MASS / 2) & (at_or_above[channel] > TAIL_MASS / 2))
        if not inside.size:
            raise ValueError(
                f"the prior of hyper-latent channel {channel} lies beyond ±{MAX_HYPERLATENT}: its training diverged"
            )
        low, high = min(int(inside[0]), MAX_HYPERLATENT - 1), max(int(inside[-1]), MAX_HYPERLATENT + 1)
        rows.append(Distribution(first=low - MAX_HYPERLATENT, mass=mass[channel, low : high + 1]))
    return rows
