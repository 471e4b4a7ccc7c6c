"""Which engine runs a bundle's graphs: what the bundle was compiled for, or what the user names."""

from __future__ import annotations

import os
from enum import StrEnum

from hyvic_runtime.engines.engine import Engine, OnnxRuntimeEngine, Provider
from hyvic_runtime.engines.tensorrt.engine import TensorRTEngine
from hyvic_runtime.engines.tensorrt.library import TensorRTLibrary
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle
from hyvic_runtime.families.latent.bundle import BUILD_SCRIPT, AnyBundle, engine_name

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


_PROVIDERS = {
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


def load_engine(
    bundle: AnyBundle, graph: str, kind: EngineKind | None = None, *, workers: int = 1, cores: int | None = None
) -> Engine:
    """Load the engine of one graph.

    A bundle that was compiled for a GPU is not run on a processor unless that is asked for: it would be slow
    without a word.

    Args:
        bundle: what to run.
        graph: one of its graphs' files.
        kind: what runs it; None: the bundle's compiled engines, or ONNX Runtime where it was not meant to have any.
        workers: threads that will run it at once; they share the cores.
        cores: that they may keep busy; None: all that the process may use.

    Raises:
        EngineError: that engine is not in the bundle, or does not run here.
    """
    compiled = bundle.manifest.engines
    if kind is None:
        if compiled is None and BUILD_SCRIPT in bundle.manifest.extras:
            raise EngineError(
                f"{bundle.folder} has no engines yet: run its {BUILD_SCRIPT} where it shall run, or pass "
                "--engine onnxruntime"
            )
        kind = EngineKind.ONNXRUNTIME if compiled is None else EngineKind(compiled.library)
    if kind in _PROVIDERS:
        return OnnxRuntimeEngine(
            bundle.folder / graph, provider=_PROVIDERS[kind], threads=max(1, (cores or usable_cores()) // workers)
        )
    if kind is EngineKind.NATIVE:
        raise EngineError(f"{bundle.folder} has graphs, which no native code runs; choose another --engine than {kind}")
    if isinstance(bundle, AdaptiveBundle):
        raise EngineError(
            f"{bundle.folder} is of the family {bundle.manifest.family}, whose network runs in native code or ONNX "
            f"Runtime alone; choose another --engine than {kind}"
        )
    if compiled is None or compiled.library != TensorRTLibrary(kind):
        raise EngineError(
            f"{bundle.folder} holds no engines of {kind}; build them: export-engine --bundle {bundle.folder} "
            f"--out NEW --target {kind}"
        )
    return TensorRTEngine(bundle.folder / engine_name(graph), compiled.library, built_with=compiled.library_version)
