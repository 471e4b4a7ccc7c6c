"""What says which table codes a coefficient: the bundle's network, in C or as a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.engines.engine import Engine
from hyvic_runtime.engines.selection import PROVIDERS, EngineKind, load_engine
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.adaptive.bundle import CONTEXT_NETWORK, AdaptiveBundle
from hyvic_runtime.families.adaptive.context_weights import ContextWeights
from hyvic_runtime.families.adaptive.contexts import GroupContexts, Planes, Squares, both_squares
from hyvic_runtime.families.adaptive.table_choice import tables_and_offsets

try:
    from hyvic_runtime.families.adaptive.native_network import NativeNetwork
except ImportError:  # the package was built without a C compiler
    NativeNetwork = None  # type: ignore[assignment, misc]

CONTEXTS_AT_ONCE = 8192
"""Made and given to a graph at a time: more outgrow the processor's cache."""


class ContextNetwork(Engine, Protocol):
    """A network of contexts. Several threads may use it at once."""

    def tables_and_offsets(
        self, contexts: GroupContexts, orientation: int, decoded: Planes, black: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Of a group's coefficients of one orientation on the squares of one colour; see `table_rows`.

        Args:
            contexts: of the group.
            orientation: of the three.
            decoded: (component, orientation, line, sample), of the group; see `GroupContexts.of`.
            black: or white squares.

        Returns:
            (component, square) both.

        Raises:
            EngineError: the network fails, or gives what no such network does.
        """
        ...

    def holds(self, weights: ContextWeights) -> bool:
        """Whether it has these in memory, as far as that can be seen."""
        ...


@dataclass(frozen=True, slots=True)
class OnnxContextNetwork:
    """A graph of it.

    Attributes:
        engine: that runs the graph.
    """

    engine: Engine

    def describe(self) -> str:
        """Library, version and device."""
        return self.engine.describe()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph once."""
        return self.engine.run(inputs)

    def tables_and_offsets(
        self, contexts: GroupContexts, orientation: int, decoded: Planes, black: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """See `ContextNetwork`."""
        portions = _line_batches((decoded.shape[2], decoded.shape[3]), black)
        rows = np.empty((len(decoded), sum(len(squares.places[0]) for squares in portions)), np.int32)
        shifts = np.empty_like(rows)
        first = 0
        for squares in portions:
            end = first + len(squares.places[0])
            for only in _components(len(decoded), end - first):
                found, prediction = contexts.of(orientation, decoded, squares, only)
                rows[only, first:end], shifts[only, first:end] = self._of_contexts(found, prediction)
            first = end
        return rows, shifts

    def holds(self, weights: ContextWeights) -> bool:
        """See `ContextNetwork`: an engine shows what it computes alone."""
        return True

    def _of_contexts(self, contexts: Planes, prediction: Planes) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Of contexts (CONTEXTS, component, square), (component, square) both."""
        outputs = self.engine.run({"contexts": contexts[None]})
        scale_index, mean_steps, gain = (
            outputs[name].reshape(prediction.shape) for name in ("scale_index", "mean_steps", "gain")
        )
        try:
            return tables_and_offsets(scale_index, mean_steps, gain, prediction)
        except ValueError as error:
            raise EngineError(f"{self.engine.describe()} gave {error}") from error


def load_context_network(
    bundle: AdaptiveBundle, kind: EngineKind | None = None, *, workers: int = 1, cores: int | None = None
) -> ContextNetwork:
    """Load a bundle's network.

    Args:
        bundle: whose.
        kind: what runs it; None: native code, or ONNX Runtime where the package was built without.
        workers: threads that will run it at once; see `load_engine`.
        cores: that they may keep busy; None: all that the process may use.

    Raises:
        EngineError: that does not run here.
    """
    if NativeNetwork is not None and kind in (None, EngineKind.NATIVE):
        return NativeNetwork(bundle.weights)
    if kind is EngineKind.NATIVE:
        raise EngineError(
            "the package was built without a C compiler, so there is no native code; install it again where there is "
            f"one, or pass --engine {EngineKind.ONNXRUNTIME}"
        )
    if kind is not None and kind not in PROVIDERS:
        raise EngineError(
            f"{bundle.folder} is of the family {bundle.manifest.family}, whose network runs in native code or ONNX "
            f"Runtime alone; choose another --engine than {kind}"
        )
    return OnnxContextNetwork(load_engine(bundle.folder / CONTEXT_NETWORK, kind, workers=workers, cores=cores))


@lru_cache(maxsize=64)
def _line_batches(shape: tuple[int, int], black: bool) -> tuple[Squares, ...]:
    """The squares of one colour in whole lines, at most CONTEXTS_AT_ONCE of them at a time or a line's."""
    lines, samples = shape
    height = max(2 * CONTEXTS_AT_ONCE // (samples + 1), 1)
    return tuple(both_squares(shape, slice(line, line + height))[black] for line in range(0, lines, height))


def _components(count: int, squares: int) -> Iterator[slice]:
    """A few at a time."""
    portion = max(CONTEXTS_AT_ONCE // max(squares, 1), 1)
    return (slice(first, min(first + portion, count)) for first in range(0, count, portion))
