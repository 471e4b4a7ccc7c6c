"""The int8 analysis in float64: what its steps alone do to latents, and what a processor may do besides.

Without a dot-product instruction (VNNI on x86), ONNX Runtime multiplies unsigned by signed octets in pairs whose sum is
cut to 16 bits (VPMADDUBSW; "Quantize ONNX models", section on U8S8). So int8 has one definition, in which nothing is
cut, and a bound for how far cut sums may be from it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from hyvic_export.families.latent.analysis_form import ConvolutionPeaks
from hyvic_export.families.latent.hyvic import INT8_MAX
from hyvic_train.families.latent.hyvic import HyVIC
from torch import Tensor
from torch.nn.functional import conv2d, unfold
from torch_rounding import DRAWS

ZERO = 128
"""Activations are octets about it."""
HALF_OF_16_BITS = (2**15 - 1) / 2


@torch.no_grad()
def int8_bound(
    model: HyVIC, pixels: Tensor, peaks: Sequence[ConvolutionPeaks], latents: Sequence[slice]
) -> tuple[float, float]:
    """How far int8 latents are from the model's.

    Args:
        model: what was exported.
        pixels: (1, band, line, sample) digital numbers, the mean subtracted where the model wants it.
        peaks: what the strided convolutions take and give, as calibrated.
        latents: lines and samples of y that are compared.

    Returns:
        Root mean square of what the steps move, and of what sums that are cut to 16 bits may add, before the gain.
    """
    double, x = copy.deepcopy(model).double(), pixels.double()
    where = (..., *latents)
    defined = _analysed(double, x, peaks, None)[where]
    steps = _rms(defined - double.analyse(x)[where])
    draws = [_analysed(double, x, peaks, torch.Generator().manual_seed(seed))[where] for seed in range(DRAWS)]
    # Twice the largest draw, as in `torch_rounding.float_bound`.
    return steps, 2 * max(_rms(drawn - defined) for drawn in draws)


def _rms(difference: Tensor) -> float:
    return float(difference.square().mean().sqrt())


def _analysed(model: HyVIC, x: Tensor, peaks: Sequence[ConvolutionPeaks], cuts: torch.Generator | None) -> Tensor:
    """Latents by the quantised graph's definition; where `cuts` draws so, sums lose all that pairs may lose."""
    first, gdn, *others = model.g_a
    x = gdn(first(x / model.config.peak))
    for convolution, normalisation, peak in zip(others[:-1:2], others[1:-1:2], peaks, strict=True):
        taken, given = (torch.from_numpy(side).double()[:, None, None] for side in (peak.inputs, peak.outputs))
        weight = convolution.weight * taken[None, :, 0, 0, None, None] / given[:, :, :, None]
        scale = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / INT8_MAX
        quantised = torch.round(weight / scale)
        octets = torch.round(x / taken * INT8_MAX).clamp(-ZERO, ZERO - 1)
        how = {"stride": convolution.stride, "padding": convolution.padding}
        sums = conv2d(octets, quantised, **how)
        if cuts is not None:
            drawn = torch.randint(0, 2, sums.shape, generator=cuts)
            sums -= drawn * _cut(octets + ZERO, quantised, sums.shape, **how)
        outputs = sums * scale[:, 0] / INT8_MAX + convolution.bias[:, None, None] / given
        outputs = torch.round(outputs * INT8_MAX).clamp(-ZERO, ZERO - 1) / INT8_MAX
        x = normalisation(outputs * given)
    latent: Tensor = others[-1](x)
    return latent


def _cut(octets: Tensor, weight: Tensor, shape: torch.Size, *, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """The most that sums lose: a pair a + b loses max(0, a + b - c) ≤ max(0, a - c / 2) + max(0, b - c / 2).

    So it holds however a library pairs its products; positive and negative ones each lose on their own side.
    """
    columns = unfold(octets, weight.shape[2:], stride=stride, padding=padding)[0]
    lost = []
    for row in weight.flatten(1):
        products = columns * row[:, None]
        over = (products - HALF_OF_16_BITS).clamp(min=0) - (-products - HALF_OF_16_BITS).clamp(min=0)
        lost.append(over.sum(dim=0))
    return torch.stack(lost).reshape(shape)
