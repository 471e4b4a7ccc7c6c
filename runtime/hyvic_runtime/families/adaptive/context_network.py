"""The network that chooses the table of each coefficient: a bundle's network, in C or as a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.engines.engine import Engine
from hyvic_runtime.engines.selection import PROVIDERS, EngineKind, load_engine
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.adaptive.bundle import CONTEXT_NETWORK, AdaptiveBundle
from hyvic_runtime.families.adaptive.checkerboard import Positions, both_positions
from hyvic_runtime.families.adaptive.context_weights import ContextWeights
from hyvic_runtime.families.adaptive.contexts import GroupContexts
from hyvic_runtime.families.adaptive.kernels import Kernels, kernels_of
from hyvic_runtime.families.adaptive.planes import Planes
from hyvic_runtime.kernels import KernelKind, chosen_kernels

CONTEXTS_AT_ONCE = 8192
"""Number of contexts that are made and given to a graph at a time; more do not fit the processor's cache."""


class ContextNetwork(Engine, Protocol):
    """A context network. Several threads may use it at once."""

    @property
    def kernels(self) -> Kernels:
        """Inner loops that make its contexts, and that its user should use too."""
        ...

    def tables_and_offsets(
        self, contexts: GroupContexts, orientation: int, decoded: Planes, non_anchor: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Choose the tables of a group's coefficients of one orientation; see `table_choice`.

        Args:
            contexts: contexts of the group, made by `kernels`.
            orientation: orientation of the coefficients.
            decoded: (component, orientation, line, sample) of the group; see `GroupContexts.at`.
            non_anchor: True for non-anchors, False for anchors.

        Returns:
            Tables (component, position) and offsets (component, position).

        Raises:
            EngineError: the network fails, or gives what no valid network gives.
        """
        ...

    def holds(self, weights: ContextWeights) -> bool:
        """Return whether it has these weights in memory, as far as that can be seen."""
        ...


@dataclass(frozen=True, slots=True)
class OnnxContextNetwork:
    """A context network that an engine runs as a graph.

    Attributes:
        engine: engine of the graph.
        kernels: inner loops that make the contexts.
    """

    engine: Engine
    kernels: Kernels = field(default_factory=kernels_of)

    def describe(self) -> str:
        """Return library, version and device."""
        return self.engine.describe()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph once."""
        return self.engine.run(inputs)

    def tables_and_offsets(
        self, contexts: GroupContexts, orientation: int, decoded: Planes, non_anchor: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """See `ContextNetwork`."""
        batches = _line_batches((decoded.shape[2], decoded.shape[3]), non_anchor)
        tables = np.empty((len(decoded), sum(len(positions.places[0]) for positions in batches)), np.int32)
        offsets = np.empty_like(tables)
        first = 0
        for positions in batches:
            end = first + len(positions.places[0])
            for only in _component_batches(len(decoded), end - first):
                found, prediction = contexts.at(orientation, decoded, positions, only)
                tables[only, first:end], offsets[only, first:end] = self._chosen(found, prediction)
            first = end
        return tables, offsets

    def holds(self, weights: ContextWeights) -> bool:
        """Return True: an engine shows only what it computes."""
        return True

    def _chosen(self, contexts: Planes, prediction: Planes) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Choose tables and offsets (component, position) by contexts (CONTEXTS, component, position)."""
        outputs = self.engine.run({"contexts": contexts[None]})
        scale_index, mean_steps, gain = (
            outputs[name].reshape(prediction.shape) for name in ("scale_index", "mean_steps", "gain")
        )
        try:
            return self.kernels.tables_and_offsets(scale_index, mean_steps, gain, prediction)
        except ValueError as error:
            raise EngineError(f"{self.engine.describe()} gave {error}") from error


def load_context_network(
    bundle: AdaptiveBundle,
    engine: EngineKind | None = None,
    *,
    kernels: KernelKind | None = None,
    workers: int = 1,
    cores: int | None = None,
) -> ContextNetwork:
    """Load a bundle's network.

    Args:
        bundle: bundle that holds the network.
        engine: engine of the network; None: native code with native kernels, ONNX Runtime with the reference.
        kernels: inner loops; None: see `chosen_kernels`.
        workers: number of threads that will run it at once; see `load_engine`.
        cores: processor cores that they may use; None: all that the process may use.

    Raises:
        EngineError: the engine or the kernels do not run here.
    """
    if engine is EngineKind.NATIVE and kernels is KernelKind.REFERENCE:
        raise EngineError(
            f"engine {engine} needs {KernelKind.NATIVE} kernels; choose engine {EngineKind.ONNXRUNTIME} with "
            f"{kernels} kernels"
        )
    kind = KernelKind.NATIVE if engine is EngineKind.NATIVE else kernels
    if engine in (None, EngineKind.NATIVE) and chosen_kernels(kind) is KernelKind.NATIVE:
        from hyvic_runtime.families.adaptive.native_network import NativeNetwork

        return NativeNetwork(bundle.weights)
    if engine is not None and engine not in PROVIDERS:
        raise EngineError(
            f"{bundle.folder} is of the family {bundle.manifest.family}, whose network runs in native code or ONNX "
            f"Runtime alone; choose another --engine than {engine}"
        )
    graph = load_engine(bundle.folder / CONTEXT_NETWORK, engine, workers=workers, cores=cores)
    return OnnxContextNetwork(graph, kernels_of(kernels))


@lru_cache(maxsize=64)
def _line_batches(shape: tuple[int, int], non_anchor: bool) -> tuple[Positions, ...]:
    """Return positions in batches of whole lines: at most CONTEXTS_AT_ONCE of them, or one line."""
    lines, samples = shape
    height = max(2 * CONTEXTS_AT_ONCE // (samples + 1), 1)
    return tuple(both_positions(shape, slice(line, line + height))[non_anchor] for line in range(0, lines, height))


def _component_batches(count: int, positions: int) -> Iterator[slice]:
    """Yield batches of components, of at most CONTEXTS_AT_ONCE contexts or one component."""
    batch = max(CONTEXTS_AT_ONCE // max(positions, 1), 1)
    return (slice(first, min(first + batch, count)) for first in range(0, count, batch))
