"""Which engine runs a bundle's graphs: what the bundle was compiled for, or what the user names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hyvic_runtime.engines.engine import Engine, OnnxRuntimeEngine, Provider
from hyvic_runtime.engines.tensorrt.engine import TensorRTEngine
from hyvic_runtime.engines.tensorrt.library import TensorRTLibrary
from hyvic_runtime.errors import EngineError

MAX_WORKERS = 8
"""More would take more memory than a small computer has; the cores beyond share the calls."""


class EngineKind(StrEnum):
    """What runs a graph."""

    NATIVE = "native"
    ONNXRUNTIME = "onnxruntime"
    ONNXRUNTIME_CUDA = "onnxruntime-cuda"
    ONNXRUNTIME_TENSORRT = "onnxruntime-tensorrt"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"


PROVIDERS = {
    EngineKind.ONNXRUNTIME: Provider.CPU,
    EngineKind.ONNXRUNTIME_CUDA: Provider.CUDA,
    EngineKind.ONNXRUNTIME_TENSORRT: Provider.TENSORRT,
}


def usable_cores() -> int:
    """Of this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Tiles to work on at a time.

    A core a tile wastes less than all cores on one: nothing waits for the slowest part of a layer.
    """
    return min(usable_cores(), MAX_WORKERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSet:
    """A bundle's graphs compiled for one kind of GPU.

    Attributes:
        library: "tensorrt" or "tensorrt-rtx".
        library_version: only this version loads them.
        compute_capability: of the GPUs that run them, "8.7", or "8.0 and later".
        files: name → SHA-256 of `engine_names`.
    """

    library: TensorRTLibrary
    library_version: str
    compute_capability: str
    files: dict[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "library", TensorRTLibrary(self.library))
        if not all(type(text) is str for text in (self.library_version, self.compute_capability, *self.files.values())):
            raise ValueError("a version or digest of an engine is not text")


def engine_name(graph: str) -> str:
    """A graph's file compiled by TensorRT."""
    return f"{Path(graph).stem}.engine"


def load_engine(
    graph: Path,
    kind: EngineKind | None = None,
    *,
    compiled: EngineSet | None = None,
    workers: int = 1,
    cores: int | None = None,
) -> Engine:
    """Load the engine of one graph.

    A bundle that was compiled for a GPU is not run on a processor unless that is asked for: it would be slow
    without a word.

    Args:
        graph: ONNX file in the bundle's folder; compiled graphs lie beside it.
        kind: library that runs the graph; None: the compiled engines, or ONNX Runtime where there are none.
        compiled: the bundle's compiled graphs, if any.
        workers: threads that will run it at once; they share the cores.
        cores: processor cores that they may keep busy; None: all that the process may use.

    Raises:
        EngineError: that engine is not in the bundle, or does not run here.
    """
    if kind is None:
        kind = EngineKind.ONNXRUNTIME if compiled is None else EngineKind(compiled.library)
    if kind in PROVIDERS:
        threads = max(1, (cores or usable_cores()) // workers)
        return OnnxRuntimeEngine(graph, provider=PROVIDERS[kind], threads=threads)
    if compiled is None or compiled.library != TensorRTLibrary(kind):
        raise EngineError(
            f"{graph.parent} holds no engines of {kind}; build them: export-engine --bundle {graph.parent} "
            f"--out NEW --target {kind}"
        )
    return TensorRTEngine(
        graph.with_name(engine_name(graph.name)), compiled.library, built_with=compiled.library_version
    )
