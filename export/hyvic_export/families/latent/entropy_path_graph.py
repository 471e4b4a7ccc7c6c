"""The integer network of the entropy path as ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import spox.opset.ai.onnx.v17 as op
from hyvic_train.integer_path import CORRECTION_MAX, MEAN_STEP_BITS, SLOPE_BITS
from spox import Var

from hyvic_export.families.latent.integer_network import REST_STEPS, Completion, IntegerNetwork
from hyvic_export.graph_nodes import int32, per_channel, scalar
from hyvic_export.integer_layer import IntegerLayer, Requantisation


def layers(x: Var, of: Sequence[IntegerLayer]) -> Var:
    """Write layers, one after another."""
    for layer in of:
        x = _requantised(_sums(x, layer), layer)
        if layer.upsampling:
            x = op.depth_to_space(x, blocksize=2, mode="CRD")
    return x


def prediction(context: Var, network: IntegerNetwork, part: int) -> tuple[Var, Var]:
    """Write the scale indices, and the means in steps, of a part of the latent."""
    scales, mean_steps = op.split(layers(context, network.parts[part].prediction), axis=1, outputs_count=2)
    if network.scale_index is not None:
        scales = op.gather(op.const(network.scale_index.astype(np.int32)), int32(scales))
    return scales, mean_steps


def completion(context: Var, symbols: Var, mean_steps: Var, of: Completion) -> tuple[Var, Var]:
    """Write ŷ of a part in steps, and the context of the next part."""
    decoded = op.add(op.mul(symbols, scalar(2.0**MEAN_STEP_BITS)), mean_steps)
    rows = layers(op.concat([context, _requantised(decoded, of.operand)], axis=1), of.correction)
    index = int32(op.add(rows, scalar(CORRECTION_MAX)))
    latent_steps = op.add(decoded, op.gather(op.const(REST_STEPS.astype(np.float32)), index))
    return latent_steps, op.concat([context, _requantised(latent_steps, of.operand)], axis=1)


def _requantised(x: Var, by: Requantisation) -> Var:
    if by.leaky_slope_bits is not None:
        x = op.max([x, op.mul(x, scalar(2.0**-by.leaky_slope_bits))])
    x = op.round(op.mul(x, per_channel(np.exp2(-by.shift.astype(np.float64)))))
    x = op.min([op.max([x, per_channel(by.low)]), per_channel(by.high)])
    if by.slope_steps is None:
        return x
    return op.max([x, op.round(op.mul(x, scalar(by.slope_steps * 2.0**-SLOPE_BITS)))])


def _sums(x: Var, layer: IntegerLayer) -> Var:
    before, after = layer.pad
    pads = [before, before, after, after]
    weight, bias = layer.weight.astype(np.float32), layer.bias.astype(np.float32)
    if layer.split_bits == 0:
        return op.conv(x, op.const(weight), op.const(bias), pads=pads)
    sizes = np.array([group.stop - group.start for group in layer.groups])
    groups = op.split(x, op.const(sizes), axis=1, outputs_count=len(sizes))
    partial = [
        op.conv(part, op.const(weight[:, group]), pads=pads) for part, group in zip(groups, layer.groups, strict=True)
    ]
    scale = scalar(2.0**-layer.split_bits)
    return op.sum([per_channel(layer.bias), *(op.round(op.mul(sums, scale)) for sums in partial)])
