"""Local attention (hyvic_train.families.latent.local_attention) as ONNX nodes.

Constants are folded, exactly except for rounding: the positional embedding into the bias of θ and φ; 1/√N into θ, so
that half precision holds the products; W into g, because the weights of a place add up to one over its block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import spox.opset.ai.onnx.v17 as op
from hyvic_train.families.latent.local_attention import BlockAttention, LocalAttention
from numpy.typing import DTypeLike, NDArray
from spox import Var
from torch import nn

from hyvic_export.families.latent.layer_nodes import convolution
from hyvic_export.graph_nodes import constant
from hyvic_export.integer_layer import doubles

ATTENTION_REACH = 3
"""Number of features around its block that an attention module sees: each branch has three 3×3 convolutions."""


def local_attention(x: Var, module: LocalAttention, dtype: DTypeLike = np.float32) -> Var:
    """Write features plus features weighted by a mask.

    Args:
        x: features, (tile, N, line, sample).
        module: module of torch.
        dtype: type of x and of the arithmetic.
    """
    branches: Any = module.branches
    features = _chain(x, branches.conv_a, dtype)
    mask = op.sigmoid(_chain(x, branches.conv_b, dtype))
    return op.add(op.mul(features, mask), x)


def _chain(x: Var, layers: nn.Sequential, dtype: DTypeLike) -> Var:
    for layer in layers:
        if isinstance(layer, BlockAttention):
            x = _block_attention(x, layer, dtype)
        elif isinstance(layer, nn.Conv2d):
            x = convolution(x, layer, dtype)
        else:
            x = _residual_unit(x, layer, dtype)
    return x


def _residual_unit(x: Var, unit: Any, dtype: DTypeLike) -> Var:
    y = x
    for layer in unit.conv:
        y = convolution(y, layer, dtype) if isinstance(layer, nn.Conv2d) else op.relu(y)
    return op.relu(op.add(y, x))


def _block_attention(x: Var, module: BlockAttention, dtype: DTypeLike) -> Var:
    """Write attention within blocks; each block becomes the rows of a matrix: (tile, block, place in the block, N)."""
    b, channels = module.block, module.theta.in_channels
    shape: Any = x.unwrap_tensor().shape
    lines, samples = shape[2:]
    cut = op.reshape(x, op.const(np.array([0, channels, lines // b, b, samples // b, b])))
    blocks = op.transpose(cut, perm=[0, 2, 4, 3, 5, 1])
    blocks = op.reshape(blocks, op.const(np.array([0, lines * samples // b**2, b**2, channels])))

    places = doubles(module.position).reshape(channels, b**2).T
    theta, phi, g, w = (_matrix(layer) for layer in (module.theta, module.phi, module.g, module.w))
    narrow = channels**-0.5
    query = _affine(blocks, theta[0] * narrow, (places @ theta[0] + theta[1]) * narrow, dtype)
    key = _affine(blocks, phi[0], places @ phi[0] + phi[1], dtype)
    value = _affine(blocks, g[0] @ w[0], g[1] @ w[0] + w[1], dtype)
    weight = op.softmax(op.matmul(query, op.transpose(key, perm=[0, 1, 3, 2])), axis=-1)
    seen = op.add(op.matmul(weight, value), blocks)

    placed = op.reshape(seen, op.const(np.array([0, lines // b, samples // b, b, b, channels])))
    picture = op.transpose(placed, perm=[0, 5, 1, 3, 2, 4])
    return op.reshape(picture, op.const(np.array([0, channels, lines, samples])))


def _matrix(layer: nn.Conv2d) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return matrix and offset of a pixelwise convolution of rows."""
    assert layer.bias is not None
    return doubles(layer.weight)[:, :, 0, 0].T, doubles(layer.bias)


def _affine(x: Var, matrix: NDArray[np.float64], offset: NDArray[np.float64], dtype: DTypeLike) -> Var:
    return op.add(op.matmul(x, constant(matrix, dtype)), constant(offset, dtype))
