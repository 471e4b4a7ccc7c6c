"""The network of contexts in C, where a compiler built that with the package: from contexts to table rows at once.

A graph's engine reads and writes every layer's channels in memory, and contexts before them; here they are made and
used in the nearest cache (docs/results/adaptive.md has figures of both).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.families.adaptive import _contexts
from hyvic_runtime.families.adaptive.context_weights import (
    BIAS,
    HIGH,
    LOW,
    NEGATIVE_SHIFT,
    SHIFT,
    ContextWeights,
    Layer,
)
from hyvic_runtime.families.adaptive.contexts import CONTEXTS, GroupContexts, Planes
from hyvic_runtime.families.adaptive.native_contexts import NativeGroupContexts
from hyvic_runtime.families.adaptive.table_choice import RANGES

INSTRUCTION_SETS = _contexts.instruction_sets()
"""Of this processor, the fastest first."""
_ROW = np.dtype([("bias", "i4"), ("unit", "f4"), ("negative_unit", "f4"), ("low", "i4"), ("high", "i4")])
_ROWS_AT_ONCE = 4


class NativeNetwork:
    """A network, ready to run. Several threads may run it at once."""

    def __init__(self, weights: ContextWeights, instruction_set: str = INSTRUCTION_SETS[0]) -> None:
        """Prepare it.

        Args:
            weights: of a bundle.
            instruction_set: one of INSTRUCTION_SETS.
        """
        self._instruction_set = instruction_set
        layers = [(_paired(layer), _rows(layer)) for layer in weights.layers]
        self._network = (
            INSTRUCTION_SETS.index(instruction_set),
            np.array([paired.shape for paired, _ in layers], np.int32),
            np.concatenate([paired.ravel() for paired, _ in layers]),
            np.concatenate([rows for _, rows in layers]),
        )

    def describe(self) -> str:
        """What computes it, and on which processor."""
        return f"native code ({platform.machine()}), {self._instruction_set}"

    def holds(self, weights: ContextWeights) -> bool:
        """See `ContextNetwork`."""
        return all(map(np.array_equal, self._network, NativeNetwork(weights, self._instruction_set)._network))

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What the bundle's graph gives: `contexts` (1, CONTEXTS, line, sample) to outputs (1, 1, line, sample)."""
        contexts = np.ascontiguousarray(inputs["contexts"], np.float32)
        if contexts.ndim != 4 or contexts.shape[:2] != (1, CONTEXTS):
            raise ValueError(f"contexts of shape {contexts.shape}; (1, {CONTEXTS}, line, sample) is needed")
        outputs = np.empty((len(RANGES), 1, 1, *contexts.shape[2:]), np.int32)
        _contexts.evaluate(self._network, contexts, outputs)
        return {name: output for (name, _, _), output in zip(RANGES, outputs, strict=True)}

    def tables_and_offsets(
        self, contexts: GroupContexts, orientation: int, decoded: Planes, black: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """See `ContextNetwork`."""
        assert isinstance(contexts, NativeGroupContexts), "where this is, `level_contexts` gives none but those"
        lines, samples = decoded.shape[2:]
        white = lines * samples - lines * samples // 2
        rows = np.empty((len(decoded), lines * samples - white if black else white), np.int32)
        shifts = np.empty_like(rows)
        description = contexts.description(orientation, decoded, black, slice(0, lines))
        _contexts.tables_and_offsets(self._network, description, rows, shifts)
        return rows, shifts


def _paired(layer: Layer) -> NDArray[np.int32]:
    """Weights (pair of inputs, row), the first one's in the low half; zero where there are none."""
    rows, inputs = layer.weight.shape
    weight = np.zeros((_padded(inputs), _padded(rows)), np.int32)
    weight[:inputs, :rows] = layer.weight.T
    return np.asarray((weight[0::2] & 0xFFFF) | (weight[1::2] << 16), np.int32)


def _rows(layer: Layer) -> NDArray[np.void]:
    """As C takes them, (row,); those beyond the layer's give zero."""
    rows = np.zeros(_padded(len(layer.rows)), _ROW)
    own = rows[: len(layer.rows)]
    for name, column in (("bias", BIAS), ("low", LOW), ("high", HIGH)):
        own[name] = layer.rows[:, column]
    for name, column in (("unit", SHIFT), ("negative_unit", NEGATIVE_SHIFT)):
        own[name] = np.ldexp(np.float32(1), -layer.rows[:, column])
    return rows


def _padded(rows: int) -> int:
    return -(-rows // _ROWS_AT_ONCE) * _ROWS_AT_ONCE
