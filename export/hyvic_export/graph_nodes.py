"""Layers of torch and CompressAI as ONNX nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import spox.opset.ai.onnx.v17 as op
from numpy.typing import DTypeLike, NDArray
from spox import Var, build
from torch import Tensor, nn

from hyvic_export.integer_layer import doubles, sub_pixel_weight

Floats = NDArray[np.float32]


def convolution(x: Var, layer: nn.Conv2d, *, pad: int, dtype: DTypeLike = np.float32) -> Var:
    """A convolution with zeros around the picture, or without."""
    weight, bias = (constant(values, dtype) for values in layer_weights(layer))
    return op.conv(x, weight, bias, strides=list(layer.stride), pads=[pad] * 4, group=layer.groups)


def upsampling(x: Var, layer: nn.ConvTranspose2d) -> Var:
    """A stride-2 transposed convolution as a sub-pixel convolution, the faster of the two in ONNX Runtime."""
    weight, (before, after) = sub_pixel_weight(doubles(layer.weight))
    _, bias = layer_weights(layer)
    pads = [before, before, after, after]
    phases = op.conv(x, op.const(weight.astype(np.float32)), op.const(np.repeat(bias, 4)), pads=pads)
    return op.depth_to_space(phases, blocksize=2, mode="CRD")


def gdn(x: Var, layer: Any, dtype: DTypeLike = np.float32) -> Var:
    """GDN, x / √(β + γ x²), or its inverse, x · √(β + γ x²) (Ballé et al., ICLR 2016)."""
    ones = np.ones(len(layer.beta), np.float32)
    gamma, beta = gdn_parameters(layer, ones, ones)
    norm = op.sqrt(op.conv(op.mul(x, x), constant(gamma[:, :, None, None], dtype), constant(beta, dtype)))
    return op.mul(x, norm) if layer.inverse else op.div(x, norm)


def gdn_parameters(layer: Any, taken: Floats, given: Floats) -> tuple[Floats, Floats]:
    """γ (channel, channel) and β (channel,), out of their reparametrisation, for scaled inputs and outputs.

    GDN gives x / √(β + γ x²). Of x / taken, it gives that over `given` if γ and β of channel i are multiplied by
    (given_i / taken_i)² and γ's column j by taken_j².

    Args:
        layer: CompressAI's.
        taken: (channel,) what the input was divided by.
        given: (channel,) what the output is divided by.
    """
    gamma = array(layer.gamma_reparam(layer.gamma))
    beta = array(layer.beta_reparam(layer.beta))
    factor = (given / taken) ** 2
    return factor[:, None] * gamma * taken**2, factor * beta


def layer_weights(layer: Any) -> tuple[Floats, Floats]:
    """Weight and bias as arrays."""
    return array(layer.weight), array(layer.bias)


def cropped(x: Var, first: int, size: int, axes: tuple[int, int] = (2, 3)) -> Var:
    """A square of a picture."""
    return op.slice(x, *(op.const(np.array(v)) for v in ([first] * 2, [first + size] * 2, axes)))


def array(tensor: Tensor) -> Floats:
    return np.asarray(tensor.detach().cpu(), np.float32)


def constant(values: NDArray[np.floating[Any]], dtype: DTypeLike = np.float32) -> Var:
    return op.const(values.astype(dtype))


def per_channel(values: NDArray[np.generic]) -> Var:
    return op.const(values.astype(np.float32)[:, None, None])


def scalar(value: float) -> Var:
    return op.const(np.float32(value))


def int32(x: Var) -> Var:
    return op.cast(x, to=np.int32)


def float32(x: Var) -> Var:
    return op.cast(x, to=np.float32)


def built(inputs: dict[str, Var], outputs: dict[str, Var]) -> onnx.ModelProto:
    """A graph with the producer's name."""
    graph = build(inputs, outputs)
    graph.producer_name = "hyvic-onboard"
    return graph
