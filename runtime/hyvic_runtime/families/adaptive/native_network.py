"""The context network in C: from a group's planes to tables and offsets in one call.

A graph's engine reads and writes contexts and every layer's channels in memory. Here they are made and used in the
nearest cache; docs/results/adaptive.md has figures of both.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive.context_weights import (
    BIAS,
    HIGH,
    LOW,
    NEGATIVE_SHIFT,
    SHIFT,
    ContextWeights,
    Layer,
)
from hyvic_runtime.families.adaptive.contexts import CONTEXTS, GroupContexts
from hyvic_runtime.families.adaptive.native_contexts import NativeGroupContexts
from hyvic_runtime.families.adaptive.native_kernels import NativeKernels
from hyvic_runtime.families.adaptive.planes import Planes
from hyvic_runtime.families.adaptive.table_choice import RANGES
from hyvic_runtime.kernels import _native

INSTRUCTION_SETS = _native.instruction_sets()
"""Instruction sets of this processor, the fastest first."""
_ROW = np.dtype([("bias", "i4"), ("unit", "f4"), ("negative_unit", "f4"), ("low", "i4"), ("high", "i4")])
_ROWS_AT_ONCE = 4


class NativeNetwork:
    """A network, ready to run. Several threads may run it at once.

    Attributes:
        kernels: inner loops that make its contexts.
    """

    kernels = NativeKernels()

    def __init__(self, weights: ContextWeights, instruction_set: str = INSTRUCTION_SETS[0]) -> None:
        """Prepare the network.

        Args:
            weights: weights of a bundle.
            instruction_set: one of INSTRUCTION_SETS.
        """
        self._instruction_set = instruction_set
        self._arrays = _arrays(weights)
        self._network = _native.context_network(INSTRUCTION_SETS.index(instruction_set), *self._arrays)

    def describe(self) -> str:
        """Return processor and instruction set."""
        return f"native code ({platform.machine()}), {self._instruction_set}"

    def holds(self, weights: ContextWeights) -> bool:
        """Return whether the arrays that C reads are made of these weights."""
        return all(map(np.array_equal, self._arrays, _arrays(weights)))

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute what the bundle's graph does: outputs (1, 1, line, sample) of (1, CONTEXTS, line, sample)."""
        contexts = np.ascontiguousarray(inputs["contexts"], np.float32)
        if contexts.ndim != 4 or contexts.shape[:2] != (1, CONTEXTS):
            raise ValueError(f"contexts of shape {contexts.shape}; (1, {CONTEXTS}, line, sample) is needed")
        outputs = np.empty((len(RANGES), 1, 1, *contexts.shape[2:]), np.int32)
        _native.evaluate(self._network, contexts, outputs)
        return {name: output for (name, _, _), output in zip(RANGES, outputs, strict=True)}

    def tables_and_offsets(
        self, contexts: GroupContexts, orientation: int, decoded: Planes, non_anchor: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """See `ContextNetwork`."""
        assert isinstance(contexts, NativeGroupContexts), "contexts are made by this network's kernels"
        lines, samples = decoded.shape[2:]
        tables = np.empty((len(decoded), (lines * samples + (not non_anchor)) // 2), np.int32)
        offsets = np.empty_like(tables)
        sums = contexts.decoded_sums(orientation, decoded)
        _native.network_tables(self._network, contexts.group, orientation, non_anchor, decoded, *sums, tables, offsets)
        return tables, offsets


def _arrays(weights: ContextWeights) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.void]]:
    """Return pairs of inputs and rows of every layer; weights of all layers; rows of all layers."""
    layers = [(_paired(layer), _rows(layer)) for layer in weights.layers]
    return (
        np.array([paired.shape for paired, _ in layers], np.int32),
        np.concatenate([paired.ravel() for paired, _ in layers]),
        np.concatenate([rows for _, rows in layers]),
    )


def _paired(layer: Layer) -> NDArray[np.int32]:
    """Return weights (pair of inputs, row), the first input's in the low half; zero in the padding."""
    rows, inputs = layer.weight.shape
    weight = np.zeros((_padded(inputs), _padded(rows)), np.int32)
    weight[:inputs, :rows] = layer.weight.T
    return np.asarray((weight[0::2] & 0xFFFF) | (weight[1::2] << 16), np.int32)


def _rows(layer: Layer) -> NDArray[np.void]:
    """Return rows as C takes them, (row,); the padding gives zero."""
    rows = np.zeros(_padded(len(layer.rows)), _ROW)
    own = rows[: len(layer.rows)]
    for name, column in (("bias", BIAS), ("low", LOW), ("high", HIGH)):
        own[name] = layer.rows[:, column]
    for name, column in (("unit", SHIFT), ("negative_unit", NEGATIVE_SHIFT)):
        own[name] = np.ldexp(np.float32(1), -layer.rows[:, column])
    return rows


def _padded(rows: int) -> int:
    return -(-rows // _ROWS_AT_ONCE) * _ROWS_AT_ONCE
