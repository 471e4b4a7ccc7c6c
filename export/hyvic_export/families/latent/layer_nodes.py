"""Layers of torch and CompressAI as ONNX nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import spox.opset.ai.onnx.v17 as op
from numpy.typing import DTypeLike
from spox import Var
from torch import nn

from hyvic_export.graph_nodes import Floats, array, constant
from hyvic_export.integer_layer import doubles, sub_pixel_weight


def written(x: Var, layer: nn.Module, dtype: DTypeLike = np.float32) -> Var:
    """Write a convolution, plain or transposed, LeakyReLU, or GDN."""
    if isinstance(layer, nn.Conv2d):
        return convolution(x, layer, dtype)
    if isinstance(layer, nn.ConvTranspose2d):
        return upsampling(x, layer)
    if isinstance(layer, nn.LeakyReLU):
        return op.leaky_relu(x, alpha=layer.negative_slope)
    return gdn(x, layer, dtype)


def convolution(x: Var, layer: nn.Conv2d, dtype: DTypeLike = np.float32) -> Var:
    """Write a convolution, with zeros around the picture that keep its size, or halve it."""
    weight, bias = (constant(values, dtype) for values in layer_weights(layer))
    pads = [layer.kernel_size[0] // 2] * 4
    return op.conv(x, weight, bias, strides=list(layer.stride), pads=pads, group=layer.groups)


def upsampling(x: Var, layer: nn.ConvTranspose2d) -> Var:
    """Write a stride-2 transposed convolution as a sub-pixel convolution, which ONNX Runtime runs faster."""
    weight, (before, after) = sub_pixel_weight(doubles(layer.weight))
    _, bias = layer_weights(layer)
    pads = [before, before, after, after]
    phases = op.conv(x, op.const(weight.astype(np.float32)), op.const(np.repeat(bias, 4)), pads=pads)
    return op.depth_to_space(phases, blocksize=2, mode="CRD")


def gdn(x: Var, layer: Any, dtype: DTypeLike = np.float32, divisors: tuple[Floats, Floats] | None = None) -> Var:
    """Write GDN, x / √(β + γ x²), or its inverse, x · √(β + γ x²) (Ballé et al., ICLR 2016).

    `divisors` scale the input and the output of GDN; see `gdn_parameters`.
    """
    ones = np.ones(len(layer.beta), np.float32)
    gamma, beta = gdn_parameters(layer, *(divisors or (ones, ones)))
    norm = op.sqrt(op.conv(op.mul(x, x), constant(gamma[:, :, None, None], dtype), constant(beta, dtype)))
    return op.mul(x, norm) if layer.inverse else op.div(x, norm)


def gdn_parameters(layer: Any, taken: Floats, given: Floats) -> tuple[Floats, Floats]:
    """Return γ (channel, channel) and β (channel,), without reparametrisation, for scaled inputs and outputs.

    GDN gives x / √(β + γ x²). With input x / taken, its output is divided by `given` if γ and β of channel i are
    multiplied by (given_i / taken_i)², and column j of γ by taken_j².

    Args:
        layer: layer of CompressAI.
        taken: divisor of the input, (channel,).
        given: divisor of the output, (channel,).
    """
    gamma = array(layer.gamma_reparam(layer.gamma))
    beta = array(layer.beta_reparam(layer.beta))
    factor = (given / taken) ** 2
    return factor[:, None] * gamma * taken**2, factor * beta


def layer_weights(layer: Any) -> tuple[Floats, Floats]:
    """Return weight and bias as arrays."""
    return array(layer.weight), array(layer.bias)


def cropped(x: Var, first: int, size: int, axes: tuple[int, int] = (2, 3)) -> Var:
    """Cut a square out of a picture."""
    return op.slice(x, *(op.const(np.array(v)) for v in ([first] * 2, [first + size] * 2, axes)))
