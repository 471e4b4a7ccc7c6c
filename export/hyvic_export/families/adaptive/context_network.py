"""The context model as an integer network, and as a graph.

`integer_layer` defines the layers and says why they are exact. `context_weights` is the form that the runtime takes.
The graph is written for speed: the weights contain every requantisation's power of two, and stay exact. After a
convolution come one activation, one clamp and one rounding. Because the bounds are integers, a clamp before the
rounding gives the same result as a clamp after it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import spox.opset.ai.onnx.v17 as op
from hyvic_runtime.families.adaptive.context_weights import ContextWeights
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, CONTEXTS
from hyvic_runtime.families.adaptive.table_choice import GAIN_STEP_BITS, MEAN_STEP_BITS, RANGES
from hyvic_train.families.adaptive.context_model import ContextModel
from hyvic_train.families.adaptive.integer_rows import CONTEXT_STEP, LOG2_MIN_SCALE, LOG2_SCALE_STEP
from spox import Tensor, Var, argument

from hyvic_export.graph_nodes import built, int32, per_channel, scalar
from hyvic_export.integer_layer import IntegerLayer, hidden_layers, last_layer

OUTPUTS: tuple[str, ...] = tuple(name for name, _, _ in RANGES)
"""Names of the last layer's rows, which are the outputs of the graph."""

ContextNetwork = tuple[IntegerLayer, ...]
"""Layers from contexts to OUTPUTS; `run_layers` defines the result."""


def context_network(model: ContextModel) -> ContextNetwork:
    """Quantise a calibrated model.

    Raises:
        ValueError: a layer is too wide.
    """
    stages: Any = model.hidden
    hidden, step = hidden_layers(
        ((stage.convolution, stage.hidden_peak) for stage in stages),
        input_step=np.full(CONTEXTS, CONTEXT_STEP),
        input_peak=np.full(CONTEXTS, CONTEXT_MAX),
        slope=2.0**-model.config.leaky_slope_bits,
    )
    last = last_layer(
        model.last,
        input_step=step,
        output_step=np.array([LOG2_SCALE_STEP, 2.0**-MEAN_STEP_BITS, 2.0**-GAIN_STEP_BITS]),
        low=np.array([least for _, least, _ in RANGES]),
        high=np.array([most for _, _, most in RANGES]),
        output_offset=np.array([LOG2_MIN_SCALE, 0.0, 0.0]),
    )
    layers = (*hidden, last)
    assert not any(layer.split_bits for layer in layers), "256 channels need no sums in groups"
    return layers


def context_weights(network: ContextNetwork) -> ContextWeights:
    """Convert the network to the form that a bundle holds beside its graph.

    Raises:
        ValueError: the runtime's code does not support a sum, shift or bound of it.
    """
    rows = []
    for layer in network:
        negative_shift = layer.shift + (layer.leaky_slope_bits or 0)
        rows.append(np.stack((layer.bias, layer.shift, negative_shift, layer.low, layer.high), axis=1))
    return ContextWeights(
        widths=(CONTEXTS, *(len(layer.bias) for layer in network)),
        weights=np.concatenate([layer.weight.ravel() for layer in network]).astype(np.int16),
        rows=np.concatenate(rows).astype(np.int32),
    )


def context_graph(network: ContextNetwork) -> onnx.ModelProto:
    """Convert the network to a graph.

    Input: `contexts` float32 (n, CONTEXTS, line, sample), integers within ±CONTEXT_MAX; other sizes are free.
    Outputs: OUTPUTS, each int32 (n, 1, line, sample).
    """
    contexts = argument(Tensor(np.float32, ("n", CONTEXTS, "line", "sample")))
    x = contexts
    for layer in network:
        x = _layer(x, layer)
    rows = op.split(x, op.const(np.ones(len(OUTPUTS), np.int64)), axis=1, outputs_count=len(OUTPUTS))
    return built({"contexts": contexts}, dict(zip(OUTPUTS, map(int32, rows), strict=True)))


def _layer(x: Var, layer: IntegerLayer) -> Var:
    unit = np.exp2(-layer.shift.astype(np.float64))
    weight = layer.weight * unit[:, None, None, None]
    x = op.conv(x, op.const(weight.astype(np.float32)), op.const((layer.bias * unit).astype(np.float32)))
    if layer.leaky_slope_bits is not None:
        x = op.leaky_relu(x, alpha=2.0**-layer.leaky_slope_bits)
    if np.ptp(layer.low) == 0 and np.ptp(layer.high) == 0:
        x = op.clip(x, scalar(layer.low[0]), scalar(layer.high[0]))
    else:
        x = op.min([op.max([x, per_channel(layer.low)]), per_channel(layer.high)])
    return op.round(x)
