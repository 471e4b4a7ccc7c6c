"""Integer frequency tables of the two entropy models, from probabilities in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hyvic_runtime.entropy.frequency_table import TOTAL, FrequencyTables
from hyvic_runtime.entropy.unit_coder import ESCAPE_OCTETS
from hyvic_train.families.latent.codec_model import CodecModel
from numpy.typing import NDArray
from scipy.special import ndtr, xlogy

TAIL_MASS = 2.0**-24
"""Probability that a row leaves to its escape: less than one part of a frequency table."""

MAX_HYPERLATENT = 1023
"""Bound of |ẑ|; the encoder clamps to the table, and the integer network needs small operands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Probabilities of consecutive integers; what they lack of 1 is the escape's.

    Attributes:
        first: the first integer.
        mass: (integer,).
    """

    first: int
    mass: NDArray[np.float64]

    def frequencies(self) -> NDArray[np.uint32]:
        """Integers of at least 1, the escape's last, that add up to TOTAL.

        The row's largest entry takes the rounding's remainder, where it weighs least.
        """
        frequencies: NDArray[np.int64] = np.maximum(np.rint(self._events() * TOTAL), 1).astype(np.int64)
        frequencies[frequencies[:-1].argmax()] += TOTAL - int(frequencies.sum())
        assert (frequencies >= 1).all()
        return np.asarray(frequencies, np.uint32)

    def entropy_bits(self) -> float:
        """Ideal code length, bits a symbol."""
        events = self._events()
        return float(-xlogy(events, events).sum() / np.log(2))

    def excess_bits(self, escape_octets: int = ESCAPE_OCTETS) -> float:
        """What `frequencies` cost above `entropy_bits`: their divergence, and the octets of escaped values."""
        events = self._events()
        length = -(events * np.log2(self.frequencies() / TOTAL)).sum() + 8 * escape_octets * events[-1]
        return float(length) - self.entropy_bits()

    def _events(self) -> NDArray[np.float64]:
        return np.append(self.mass, max(1.0 - float(self.mass.sum()), 0.0))


def frequency_tables(rows: Sequence[Distribution]) -> FrequencyTables:
    """A row for each distribution."""
    return FrequencyTables(
        first=np.array([row.first for row in rows], np.int32),
        length=np.array([len(row.mass) for row in rows], np.int32),
        frequencies=np.concatenate([row.frequencies() for row in rows]),
    )


def gaussians(scales: NDArray[np.float64]) -> list[Distribution]:
    """Eq. 1 for a mean of zero: Gaussians convolved with a unit-wide uniform, at the integers.

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
    """The factorised prior at every integer (beside the median), a row per hyper-latent channel.

    A row spans the integers that carry all but TAIL_MASS, and at least -1..1.

    Raises:
        ValueError: a channel's mass lies beyond ±MAX_HYPERLATENT.
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


def table_bits(
    tables: FrequencyTables,
    symbols: NDArray[np.integer[Any]],
    rows: NDArray[np.integer[Any]],
    escape_octets: int = ESCAPE_OCTETS,
) -> float:
    """Ideal code length of symbols under integer frequencies, escaped values included."""
    position = symbols - tables.first[rows]
    length = tables.length[rows]
    escaped = (position < 0) | (position >= length)
    frequency = tables.frequencies[tables.starts()[rows] + np.where(escaped, length, position)]
    return float(-np.log2(frequency / TOTAL).sum() + 8 * escape_octets * escaped.sum())
