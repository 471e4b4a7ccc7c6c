"""Constants, casts and graphs in ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import spox.opset.ai.onnx.v17 as op
from numpy.typing import DTypeLike, NDArray
from spox import Var, build
from torch import Tensor

Floats = NDArray[np.float32]


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
    """Build a graph, with the name of its producer."""
    graph = build(inputs, outputs)
    graph.producer_name = "hyvic-onboard"
    return graph
