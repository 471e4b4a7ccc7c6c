"""Joint spatial–spectral features (hyvic_train.families.latent.joint_features) as ONNX nodes.

Spatial blocks see (tile, band, line, sample), spectral blocks (tile, line, sample, band), where each of their
convolutions along the bands is one matrix product. Neither is joined with the other: the pixelwise convolution between
features and the fusion transforms falls into a product for each branch.
"""

from __future__ import annotations

import numpy as np
import spox.opset.ai.onnx.v17 as op
from hyvic_train.families.latent.joint_features import Branches, SpatialBlock, SpectralBlock, SpectralConvolution
from numpy.typing import DTypeLike
from spox import Var
from torch import nn

from hyvic_export.graph_nodes import array, constant, convolution, layer_weights

SPATIAL_REACH = 2
"""Pixels around it that a spatial block sees."""


def fused_features(x: Var, branches: Branches, fusion: nn.Conv2d, slope: float, dtype: DTypeLike) -> Var:
    """Extraction and the first convolution of E.

    Args:
        x: (tile, line, sample, band) over the peak.
        branches: extraction.
        fusion: the pixelwise convolution of all features.
        slope: of LeakyReLU.
        dtype: of x and the arithmetic.

    Returns:
        (tile, N, line, sample).
    """
    weight, bias = layer_weights(fusion)
    spatial, *spectral = np.split(weight, len(branches.chains), axis=1)
    bands = _spatial(op.transpose(x, perm=[0, 3, 1, 2]), branches.chains[0], slope, dtype)
    fused = op.conv(bands, constant(spatial, dtype), constant(bias, dtype))
    for chain, part in zip(branches.chains[1:], spectral, strict=True):
        spectra = op.matmul(_spectral(x, chain, slope, dtype), constant(part[:, :, 0, 0].T, dtype))
        fused = op.add(fused, op.transpose(spectra, perm=[0, 3, 1, 2]))
    return fused


def reconstruction(x: Var, fission: nn.Conv2d, branches: Branches, slope: float, peak: float) -> Var:
    """The last convolution of D and reconstruction, in float32.

    Args:
        x: (tile, N, line, sample).
        fission: the pixelwise convolution to all features.
        branches: reconstruction.
        slope: of LeakyReLU.
        peak: what the picture is multiplied by.

    Returns:
        (tile, line, sample, band).
    """
    weight, bias = layer_weights(fission)
    count = len(branches.chains)
    (spatial, *spectral), (offset, *offsets) = np.split(weight, count), np.split(bias, count)
    bands = _spatial(op.conv(x, op.const(spatial), op.const(offset)), branches.chains[0], slope, np.float32)
    picture = op.transpose(bands, perm=[0, 2, 3, 1])
    pixels = op.transpose(x, perm=[0, 2, 3, 1])
    for chain, part, added in zip(branches.chains[1:], spectral, offsets, strict=True):
        spectra = op.add(op.matmul(pixels, op.const(part[:, :, 0, 0].T)), op.const(added))
        picture = op.add(picture, _spectral(spectra, chain, slope, np.float32))
    return op.mul(picture, op.const(np.float32(peak / count)))


def _spatial(x: Var, chain: nn.Module, slope: float, dtype: DTypeLike) -> Var:
    for block in chain.children():
        assert isinstance(block, SpatialBlock)
        hidden = op.leaky_relu(convolution(x, block.into, pad=1, dtype=dtype), alpha=slope)
        x = op.add(convolution(hidden, block.out, pad=1, dtype=dtype), x)
    return x


def _spectral(x: Var, chain: nn.Module, slope: float, dtype: DTypeLike) -> Var:
    for block in chain.children():
        assert isinstance(block, SpectralBlock)
        hidden = op.leaky_relu(_along_bands(x, block.into, dtype), alpha=slope)
        x = op.add(_along_bands(hidden, block.out, dtype), x)
    return x


def _along_bands(x: Var, layer: SpectralConvolution, dtype: DTypeLike) -> Var:
    weight, bias = (array(values) for values in layer.pixelwise())
    return op.add(op.matmul(x, constant(weight.T, dtype)), constant(bias, dtype))
