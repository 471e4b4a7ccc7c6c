"""Engines that fail, and ways to give them to an encoder of each family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.engines.engine import Engine
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.adaptive.context_network import OnnxContextNetwork

Fault = tuple[str, int]
"""Name of an output, and the value of its last element; None in place of a fault: the engine raises an error."""
LEAST = -(2**31)
"""Integer that a NaN becomes."""


class FaultyEngine:
    """Engine that runs another engine and gives wrong outputs when `fails` says so."""

    def __init__(self, engine: Engine, *, fails: Callable[[], bool], fault: Fault | None) -> None:
        self._engine, self._fails, self._fault = engine, fails, fault

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        fails = self._fails()
        if fails and self._fault is None:
            raise EngineError("the device is gone")
        outputs = dict(self._engine.run(inputs))
        if fails and self._fault is not None:
            name, value = self._fault
            outputs[name] = outputs[name].copy()
            outputs[name].flat[-1] = value
        return outputs

    def describe(self) -> str:
        return "a faulty engine"


class OffByOneEngine:
    """Engine whose sums are off by one in one place, as those of a kernel of lower precision would be."""

    def __init__(self, engine: Engine, output: str) -> None:
        self._engine, self._output = engine, output

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self._engine.run(inputs)
        outputs[self._output] = outputs[self._output].copy()
        outputs[self._output].flat[5] += 1
        return outputs

    def describe(self) -> str:
        return "broken engine"


def latent_with_faults(encoder: AnyEncoder, tiles: set[int], fault: Fault | None = None) -> None:
    """Let the engine of an encoder of one worker fail on its calls numbered in `tiles`; there is one call a tile."""
    calls = iter(range(10**9))
    encoder._engine = FaultyEngine(encoder._engine, fails=lambda: next(calls) in tiles, fault=fault)


def adaptive_with_faults(encoder: AnyEncoder, tiles: set[int], fault: Fault | None = None) -> None:
    """Let the network of an encoder of one worker fail on the tiles numbered in `tiles`, in the order of coding."""
    coded = encoder._code_tile
    begun: list[None] = []

    def counted(*arguments: Any) -> Any:
        begun.append(None)
        return coded(*arguments)

    adaptive_with_network(encoder, fails=lambda: len(begun) - 1 in tiles, fault=fault)
    encoder._code_tile = counted


def adaptive_with_network(encoder: AnyEncoder, *, fails: Callable[[], bool], fault: Fault | None) -> None:
    """Let the network of an encoder fail when `fails` says so."""
    engine = FaultyEngine(encoder._tiles.network, fails=fails, fault=fault)
    encoder._tiles = replace(encoder._tiles, network=OnnxContextNetwork(engine))
