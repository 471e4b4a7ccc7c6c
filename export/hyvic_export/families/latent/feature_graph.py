"""Joint spatial–spectral features (hyvic_train.families.latent.joint_features) as ONNX nodes.

Spatial blocks see (tile, band, line, sample). Spectral blocks see (tile, line, sample, band), so each convolution along
the bands is one matrix product. The branches are never concatenated: the pixelwise convolution between features and the
fusion transforms is split into one product for each branch.
"""

from __future__ import annotations

import numpy as np
import spox.opset.ai.onnx.v17 as op
from hyvic_train.families.latent.joint_features import Branches, ResidualBlock, SpectralConvolution
from numpy.typing import DTypeLike
from spox import Var
from torch import nn

from hyvic_export.families.latent.layer_nodes import layer_weights, written
from hyvic_export.graph_nodes import array, constant

SPATIAL_REACH = 2
"""Number of pixels around a pixel that a spatial block sees."""


def fused_features(x: Var, branches: Branches, fusion: nn.Conv2d, dtype: DTypeLike) -> Var:
    """Write extraction and the first convolution of E.

    Args:
        x: digital numbers divided by the peak, (tile, line, sample, band).
        branches: extraction.
        fusion: pixelwise convolution of all features.
        dtype: type of x and of the arithmetic.

    Returns:
        Features, (tile, N, line, sample).
    """
    weight, bias = layer_weights(fusion)
    spatial, *spectral = np.split(weight, len(branches.chains), axis=1)
    bands = _blocks(op.transpose(x, perm=[0, 3, 1, 2]), branches.chains[0], dtype)
    fused = op.conv(bands, constant(spatial, dtype), constant(bias, dtype))
    for chain, part in zip(branches.chains[1:], spectral, strict=True):
        spectra = op.matmul(_blocks(x, chain, dtype), constant(part[:, :, 0, 0].T, dtype))
        fused = op.add(fused, op.transpose(spectra, perm=[0, 3, 1, 2]))
    return fused


def reconstruction(x: Var, fission: nn.Conv2d, branches: Branches, peak: float) -> Var:
    """Write the last convolution of D and reconstruction, in float32.

    Args:
        x: features, (tile, N, line, sample).
        fission: pixelwise convolution to all features.
        branches: reconstruction.
        peak: factor of the picture.

    Returns:
        Digital numbers, (tile, line, sample, band).
    """
    weight, bias = layer_weights(fission)
    count = len(branches.chains)
    (spatial, *spectral), (offset, *offsets) = np.split(weight, count), np.split(bias, count)
    bands = _blocks(op.conv(x, op.const(spatial), op.const(offset)), branches.chains[0], np.float32)
    picture = op.transpose(bands, perm=[0, 2, 3, 1])
    pixels = op.transpose(x, perm=[0, 2, 3, 1])
    for chain, part, added in zip(branches.chains[1:], spectral, offsets, strict=True):
        spectra = op.add(op.matmul(pixels, op.const(part[:, :, 0, 0].T)), op.const(added))
        picture = op.add(picture, _blocks(spectra, chain, np.float32))
    return op.mul(picture, op.const(np.float32(peak / count)))


def _blocks(x: Var, chain: nn.Module, dtype: DTypeLike) -> Var:
    for block in chain.children():
        assert isinstance(block, ResidualBlock)
        hidden = written(_layer(x, block.into, dtype), block.activation)
        x = op.add(_layer(hidden, block.out, dtype), x)
    return x


def _layer(x: Var, layer: nn.Module, dtype: DTypeLike) -> Var:
    if not isinstance(layer, SpectralConvolution):
        return written(x, layer, dtype)
    weight, bias = (array(values) for values in layer.pixelwise())
    return op.add(op.matmul(x, constant(weight.T, dtype)), constant(bias, dtype))
