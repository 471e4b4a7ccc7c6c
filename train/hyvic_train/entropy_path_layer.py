"""A hidden layer of a float entropy path that will be exported as an integer network."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

import torch
from torch import Tensor, nn

from hyvic_train.integer_path import hidden_step, raise_peak, rounded_hidden


class Arithmetic(Enum):
    """Arithmetic of a pass through the entropy path.

    Attributes:
        REAL: floating point.
        ROUNDED: rounding as in the integer network, straight-through; a training pass raises the peaks first.
        OBSERVED: floating point, and the peaks are raised to the magnitudes reached; without gradient.
    """

    REAL = auto()
    ROUNDED = auto()
    OBSERVED = auto()


class EntropyPathLayer(nn.Module):
    """A convolution and LeakyReLU, with the largest magnitude that every channel reached."""

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d, slope: float) -> None:
        super().__init__()
        self.convolution = convolution
        self.activation = nn.LeakyReLU(slope)
        self.hidden_peak: Tensor
        self.register_buffer("hidden_peak", torch.zeros(convolution.out_channels))

    def forward(self, x: Tensor, arithmetic: Arithmetic) -> Tensor:
        hidden: Tensor = self.activation(self.convolution(x))
        return held(self.hidden_peak, hidden, arithmetic, training=self.training)


def held(peak: Tensor, hidden: Tensor, arithmetic: Arithmetic, *, training: bool) -> Tensor:
    """Return hidden activations as the arithmetic holds them, given their (channel,) peaks."""
    watch(peak, hidden, arithmetic, training=training)
    return rounded_hidden(hidden, hidden_step(peak)[:, None, None]) if arithmetic is Arithmetic.ROUNDED else hidden


def watch(peak: Tensor, values: Tensor, arithmetic: Arithmetic, *, training: bool) -> None:
    """Raise (channel,) peaks where the arithmetic asks for it."""
    if arithmetic is Arithmetic.OBSERVED:
        torch.maximum(peak, values.abs().amax(dim=(0, 2, 3)), out=peak)
    elif arithmetic is Arithmetic.ROUNDED and training:
        raise_peak(peak, values)


@torch.no_grad()
def reached_peaks(peaks: dict[str, Tensor], observe: Callable[[], None]) -> dict[str, Tensor]:
    """Return the peaks that `observe` reaches from zero, for the exporter; `peaks` stay as they are."""
    before = {name: peak.clone() for name, peak in peaks.items()}
    for peak in peaks.values():
        peak.zero_()
    observe()
    reached = {name: peak.clone() for name, peak in peaks.items()}
    for name, peak in peaks.items():
        peak.copy_(before[name])
    return reached
