"""One layer of the entropy path in integers: quantisation of its weights, and definition of its result.

Encoder and decoder are different machines, but must derive identical frequency tables. So the entropy path computes
with integers (Ballé et al., Integer Networks for Data Compression with Latent-Variable Models, ICLR 2019), in
floating-point variables, because engines are fast at these:

- every weight and activation is an integer of magnitude ≤ 2048, exact in TF32 and fp16 operands;
- Σ|w|·max|x| + |b| < 2²⁴ per output channel, so a float32 sum is exact in any order; if a wide layer would leave
  its weights too few bits, channels are summed in groups, and the rounded sums of the groups are added;
- a layer requantises by a power of two, rounding half to even, and clamps;
- LeakyReLU's slope is a power of two, or a multiple of 2⁻¹⁶ by which negative results are multiplied, exactly, and
  rounded again: 0.01 becomes 655 · 2⁻¹⁶, 0.055 % less;
- a last layer gives the mean in steps of 2⁻⁴ and, where the model predicts log2 σ, the scale index itself; from a
  model that predicts σ it gives σ in steps of 2⁻⁶, and a lookup gives the index: never a logarithm.

Transposed 3×3 convolutions become sub-pixel convolutions of 2×2, too small for a Winograd algorithm, whose fractions
would not be exact. For larger kernels, such as in slices (`slice_kernel_size`), the engine chooses the algorithm. An
engine that takes Winograd's fails the conformance vectors, and codes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from hyvic_train.integer_path import HIDDEN_MAX, SLOPE_BITS, hidden_step
from numpy.typing import NDArray
from torch import Tensor

MAX_OPERAND = 2048
MAX_SUM = 2**24
MIN_WEIGHT_RMS = 64.0
"""Wanted size of weights: sums are split until half the rows reach it, or have the largest operands. The rounding of
weights, 12**-½ each, then changes a sum by under ½ %, no more than the rounding of eight-bit activations."""
MAX_SPLIT_BITS = 6

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requantisation:
    """Reduction of integers that are too fine or too large: clamp(round(leaky(x) · 2**-shift), low, high).

    A slope that is no power of two acts after the clamp: t = clamp(round(x · 2**-shift), low, high), and the result is
    max(t, round(t · slope_steps · 2**-SLOPE_BITS)). The first rounding moves a negative result by half a slope at most.

    Attributes:
        shift, low, high: parameters of each row, (row,).
        leaky_slope_bits: negative values are scaled by 2**-leaky_slope_bits; None: they are not scaled.
        slope_steps: negative results are scaled by slope_steps · 2**-SLOPE_BITS; None: they are not scaled.
    """

    shift: Integers
    low: Integers
    high: Integers
    leaky_slope_bits: int | None
    slope_steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerLayer(Requantisation):
    """One convolution of the entropy path with its requantisation.

        partial(g) = Σ weight · x over the input channels of group g
        sum        = Σ round(partial(g) · 2**-split_bits) + bias
        out        = sum requantised, then depth-to-space if upsampling

    Attributes:
        weight: weights, (row, input channel, line tap, sample tap).
        split_bits: input channels form 2**split_bits groups of consecutive channels; with one group nothing is rounded.
        bias, shift, low, high: parameters of each row, (row,). A row is an output channel. With upsampling it is one of
            a channel's four phases, (channel, line phase, sample phase).
        pad: number of zeros before and after, along lines and samples.
        upsampling: True if rows are phases of a picture twice as large.
    """

    weight: Integers
    split_bits: int
    bias: Integers
    pad: tuple[int, int]
    upsampling: bool

    @property
    def groups(self) -> tuple[slice, ...]:
        """Return the input channels of every group."""
        edges = np.linspace(0, self.weight.shape[1], 2**self.split_bits + 1).astype(int).tolist()
        return tuple(slice(low, high) for low, high in pairwise(edges))


Seen = Callable[[str, Requantisation, Integers], None]
"""Receives a requantisation's name, the requantisation and its input values, (row, line, sample)."""


def hidden_layers(
    stages: Iterable[tuple[Any, Tensor]],
    *,
    input_step: NDArray[np.float64],
    input_peak: Integers,
    slope: float,
    input_offset: NDArray[np.float64] | None = None,
) -> tuple[tuple[IntegerLayer, ...], NDArray[np.float64]]:
    """Quantise hidden layers: each a convolution, or a stride-2 transposed convolution, and LeakyReLU.

    Args:
        stages: layers of torch in turn, each with the largest magnitude that every channel reached, (output channel,).
        input_step: value of one integer step of the first layer's input, (input channel,).
        input_peak: largest magnitude of this input in steps, (input channel,).
        slope: negative slope of LeakyReLU, positive and below 1.
        input_offset: values of this input that stand for zero steps, (input channel,).

    Returns:
        The layers, and the value of one integer step of the last one's output, (output channel,).
    """
    slope_bits, slope_steps = slope_form(slope)
    lowest = -HIDDEN_MAX if slope_steps is None else lowest_before_slope(slope_steps)
    layers = []
    for layer, reached in stages:
        reach = layer.kernel_size[0] // 2
        weight, pad, phases = doubles(layer.weight), (reach, reach), 1
        if layer.transposed:
            weight, pad = sub_pixel_weight(weight)
            phases = 4
        bias = np.repeat(doubles(layer.bias), phases)
        if input_offset is not None:
            # Exact except for a tile's outermost outputs, where the float model sees zero and this layer the offset.
            bias += np.einsum("oiuv,i->o", weight, input_offset)
        output_step = doubles(hidden_step(reached.double()))
        quantised = quantised_layer(
            weight=weight,
            bias=bias,
            input_step=input_step,
            input_peak=input_peak,
            output_step=np.repeat(output_step, phases),
            low=np.full(len(weight), lowest),
            high=np.full(len(weight), HIDDEN_MAX),
            pad=pad,
            leaky_slope_bits=slope_bits,
            slope_steps=slope_steps,
            upsampling=layer.transposed,
        )
        layers.append(quantised)
        input_step, input_peak, input_offset = output_step, np.full(len(output_step), HIDDEN_MAX), None
    return tuple(layers), input_step


def slope_form(slope: float) -> tuple[int | None, int | None]:
    """Return a slope as `leaky_slope_bits` and `slope_steps` of a requantisation; one of them is None."""
    mantissa, exponent = math.frexp(slope)
    return (1 - exponent, None) if mantissa == 0.5 else (None, round(slope * 2**SLOPE_BITS))


def lowest_before_slope(slope_steps: int) -> int:
    """Return the lowest integer that the slope takes to −HIDDEN_MAX, and not below.

    Its product with `slope_steps` is less than (HIDDEN_MAX + 1/2) · 2**SLOPE_BITS, so float32 holds it exactly.
    """
    return -(((2 * HIDDEN_MAX + 1 << SLOPE_BITS - 1) - 1) // slope_steps)


def last_layer(
    layer: Any,
    *,
    input_step: NDArray[np.float64],
    output_step: NDArray[np.float64],
    low: Integers,
    high: Integers,
    output_offset: NDArray[np.float64] | None = None,
) -> IntegerLayer:
    """Quantise a pixelwise layer that turns hidden activations into results.

    Args:
        layer: layer of torch.
        input_step: value of one integer step, (input channel,).
        output_step: value of one integer step, (output channel,).
        low: least result, (output channel,).
        high: largest result, (output channel,).
        output_offset: value that stands for zero steps, (output channel,).
    """
    bias = doubles(layer.bias)
    return quantised_layer(
        weight=doubles(layer.weight),
        bias=bias if output_offset is None else bias - output_offset,
        input_step=input_step,
        input_peak=np.full(len(input_step), HIDDEN_MAX),
        output_step=output_step,
        low=low,
        high=high,
        pad=(0, 0),
        leaky_slope_bits=None,
        upsampling=False,
    )


def refuse_uncalibrated(peaks: Mapping[str, Tensor]) -> None:
    """Refuse a model whose hidden layers were never calibrated.

    Raises:
        ValueError: a layer's peaks are zero.
    """
    if not all(peak.any() for peak in peaks.values()):
        raise ValueError("the checkpoint was never calibrated: its peak tensors are zero; train it a step")


def doubles(tensor: Tensor) -> NDArray[np.float64]:
    """Convert a tensor to an array."""
    return np.asarray(tensor.detach().cpu(), np.float64)


def sub_pixel_weight(weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Rewrite a stride-2 transposed convolution as a convolution followed by depth-to-space.

    Tap t of a transposed convolution with padding k // 2 and output padding 1 carries input i to output
    2i - k // 2 + t. Output 2i + a therefore collects inputs i + u through t = a + k // 2 - 2u.

    Args:
        weight: (input, output, k, k), torch's layout.

    Returns:
        (4 · output, input, taps, taps), rows in (output, line phase, sample phase) order; and the padding.
    """
    inputs, outputs, k, _ = weight.shape
    taps = {(a, u): a + k // 2 - 2 * u for a in (0, 1) for u in range(-k, k + 1) if 0 <= a + k // 2 - 2 * u < k}
    before, after = -min(u for _, u in taps), max(u for _, u in taps)
    size = before + after + 1
    result = np.zeros((outputs, 2, 2, inputs, size, size))
    for (a, u), t in taps.items():
        for (b, v), s in taps.items():
            result[:, a, b, :, u + before, v + before] = weight[:, :, t, s].T
    return result.reshape(4 * outputs, inputs, size, size), (before, after)


def quantised_layer(
    *,
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
    input_step: NDArray[np.float64],
    input_peak: Integers,
    output_step: NDArray[np.float64],
    low: Integers,
    high: Integers,
    pad: tuple[int, int],
    leaky_slope_bits: int | None,
    upsampling: bool,
    slope_steps: int | None = None,
) -> IntegerLayer:
    """Give every row the largest power-of-two gain at which its operands and sums stay exact.

    Raises:
        ValueError: the layer is too wide.
    """
    real = weight * input_step[:, None, None] / output_step[:, None, None, None]
    real_bias = bias / output_step
    magnitude = np.abs(real).max(axis=(1, 2, 3))
    most_bits = np.floor(np.log2(MAX_OPERAND / np.maximum(magnitude, 2.0**-24))).astype(np.int64)
    most_splits = min(MAX_SPLIT_BITS, weight.shape[1].bit_length() - 1)
    for split_bits in range(most_splits + 1):
        bits = most_bits
        while True:
            layer = IntegerLayer(
                weight=np.rint(real * np.exp2(bits)[:, None, None, None]).astype(np.int64),
                split_bits=split_bits,
                bias=np.rint(real_bias * np.exp2(bits - split_bits)).astype(np.int64),
                shift=bits - split_bits,
                low=np.asarray(low, np.int64),
                high=np.asarray(high, np.int64),
                pad=pad,
                leaky_slope_bits=leaky_slope_bits,
                slope_steps=slope_steps,
                upsampling=upsampling,
            )
            excess = np.log2(np.maximum(largest_sum(layer, input_peak), 1) / MAX_SUM)
            if (excess < 0).all():
                break
            bits = bits - np.where(excess < 0, 0, np.maximum(np.floor(excess), 1)).astype(np.int64)
        rms = np.sqrt((layer.weight.astype(np.float64) ** 2).mean(axis=(1, 2, 3)))
        enough = MIN_WEIGHT_RMS if split_bits < most_splits else 1.0
        if ((rms >= enough) | (bits == most_bits) | (magnitude == 0)).mean() >= 0.5:
            return layer
    raise ValueError(f"a row sums {weight[0].size} products of up to {input_peak.max()}: too many for 2^24")


def largest_sum(layer: IntegerLayer, input_peak: Integers) -> Integers:
    """Return the largest magnitude that a sum of each row can reach, (row,). It proves that float32 holds it exactly.

    The bound is Σ|w|·max|x| of each group, and the sum of the rounded groups and the bias.
    """
    magnitude = np.abs(layer.weight).sum(axis=(2, 3))
    partial = np.stack([magnitude[:, group] @ input_peak[group] for group in layer.groups])
    rounded = partial if layer.split_bits == 0 else (partial >> layer.split_bits) + 1
    return np.asarray(np.maximum(partial.max(axis=0), rounded.sum(axis=0) + np.abs(layer.bias)), np.int64)


def run_layers(
    layers: Sequence[IntegerLayer], x: Integers, name: str = "", seen: Seen = lambda name, by, values: None
) -> Integers:
    """Compute layers by the definition in int64, and return the last output, (channel, line, sample)."""
    for number, layer in enumerate(layers):
        sums = layer_sums(layer, x)
        seen(f"{name}layer {number}", layer, sums)
        x = requantised(layer, sums)
        if layer.upsampling:
            x = _depth_to_space(x)
    return x


def layer_sums(layer: IntegerLayer, x: Integers) -> Integers:
    """Return the sums of a layer before requantisation, (row, line, sample)."""
    before, after = layer.pad
    padded = np.pad(x, ((0, 0), (before, after), (before, after)))
    lines, samples = x.shape[1:]
    total = np.broadcast_to(layer.bias[:, None, None], (len(layer.bias), lines, samples)).copy()
    for group in layer.groups:
        partial = np.zeros_like(total)
        for u, v in np.ndindex(layer.weight.shape[2:]):
            window = padded[group, u : u + lines, v : v + samples]
            weight = layer.weight[:, group, u, v]
            # The matrix product of doubles is fast and, below 2**53, exact.
            partial += np.tensordot(weight.astype(np.float64), window.astype(np.float64), axes=1).astype(np.int64)
        total += rounded_shift(partial, np.int64(layer.split_bits))
    return total


def requantised(by: Requantisation, values: Integers) -> Integers:
    """Requantise values, (row, line, sample)."""
    clamped = np.clip(rounded_shift(values, shift_of(by, values)), by.low[:, None, None], by.high[:, None, None])
    if by.slope_steps is None:
        return clamped
    return np.maximum(clamped, rounded_shift(clamped * by.slope_steps, np.int64(SLOPE_BITS)))


def _depth_to_space(x: Integers) -> Integers:
    lines, samples = x.shape[1:]
    phases = x.reshape(-1, 2, 2, lines, samples)
    return phases.transpose(0, 3, 1, 4, 2).reshape(-1, 2 * lines, 2 * samples)


def shift_of(by: Requantisation, values: Integers) -> Integers:
    """Return the number of bits that each value is rounded by, with LeakyReLU's slope."""
    shift = np.broadcast_to(by.shift[:, None, None], values.shape)
    return shift if by.leaky_slope_bits is None else np.where(values < 0, shift + by.leaky_slope_bits, shift)


def rounded_shift(value: Integers, shift: Integers | np.int64) -> Integers:
    """Return value · 2**-shift, rounded half to even."""
    right = np.maximum(shift, 0)
    floor: Integers = value >> right
    twice_rest = 2 * (value - (floor << right))
    unit = np.int64(1) << right
    up = (twice_rest > unit) | ((twice_rest == unit) & (floor % 2 == 1))
    return np.asarray((floor + up) << np.maximum(-shift, 0))
