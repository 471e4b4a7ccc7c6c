"""Chooses the engine for the graphs of a bundle: the one that the user names, or the one that it was compiled for."""

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
"""Largest default number of workers. More workers need more memory than a small computer has.

On more cores, each worker runs its calls on several cores."""


class EngineKind(StrEnum):
    """Kind of engine, as `--engine` spells it."""

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
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Return the number of tiles to work on at the same time.

    One core for each tile is faster than all cores for one tile, because no core waits for the slowest part of a layer.
    """
    return min(usable_cores(), MAX_WORKERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSet:
    """Graphs of a bundle that were compiled for one kind of GPU.

    Attributes:
        library: library that compiled the graphs.
        library_version: version of the library; no other version loads the engines.
        compute_capability: compute capability of the GPUs that run the engines, such as "8.7" or "8.0 and later".
        files: SHA-256 of each engine file, by name.
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
    """Return the name of the file that holds a graph compiled by TensorRT."""
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

    A bundle that was compiled for a GPU runs on a processor only if the user asks for it. Otherwise it would be slow
    without any message.

    Args:
        graph: ONNX file in the folder of the bundle; the compiled graphs lie in the same folder.
        kind: kind of engine; None for the compiled engine, or for ONNX Runtime if the bundle has no compiled graphs.
        compiled: compiled graphs of the bundle, if any.
        workers: number of threads that will run the engine at the same time; they share the cores.
        cores: number of processor cores that the workers may use; None for all cores of the process.

    Raises:
        EngineError: the bundle does not hold this engine, or the engine does not run here.
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
