"""Compilation of ONNX graphs to engines, with the API that TensorRT and TensorRT-RTX share.

Networks are strongly typed: types come from the graph, so no builder can choose fp16 for the entropy path. TF32 is off.
The entropy path would be exact with TF32 too, because its operands have 11 bits. But float32 transforms would differ
from the measured ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hyvic_runtime.engines.tensorrt.cuda_device import CudaDevice
from hyvic_runtime.engines.tensorrt.library import TensorRTLibrary, message_log
from hyvic_runtime.errors import EngineError

MIN_TILES, USUAL_TILES, MAX_TILES = 1, 1, 4
"""Tiles of a call in the optimisation profile. The runtime gives one, so engines are tuned for one."""
PORTABLE = "8.0 and later"
"""Default GPUs of TensorRT-RTX: Ampere and later."""


class EngineBuilder:
    """Builder of engines with one library for one kind of GPU.

    Attributes:
        library: library that builds.
        compute_capability: compute capability of the GPUs that run its engines.
        timing_cache: TensorRT's measurements for the choice of kernels, for the next build. TensorRT-RTX measures
            nothing.
    """

    def __init__(self, library: TensorRTLibrary, *, compute_capability: str | None, timing_cache: bytes = b"") -> None:
        """Load the library and check that it can build for the GPU.

        Args:
            library: library that builds.
            compute_capability: GPU to build for, such as "8.6"; None: PORTABLE for TensorRT-RTX, this machine's GPU for
                TensorRT.
            timing_cache: measurements of an earlier build with TensorRT on this GPU.

        Raises:
            EngineError: the library or a GPU that it needs is missing.
            ValueError: the library does not build for the compute capability.
        """
        self.library = library
        self._module = library.load()
        self._capability: Any = None
        self.timing_cache = timing_cache
        if library is TensorRTLibrary.TENSORRT:
            self.compute_capability = CudaDevice().compute_capability
        else:
            self.compute_capability = compute_capability or PORTABLE
        if compute_capability is not None:
            allowed = compute_capabilities(self._module)
            if compute_capability not in allowed:
                raise ValueError(
                    f"{library.product} {self.version} does not build for compute capability {compute_capability}; "
                    f"choose among {', '.join(allowed)}"
                )
            self._capability = allowed[compute_capability]

    @property
    def version(self) -> str:
        """Version of the library."""
        return str(self._module.__version__)

    def build(self, graph: Path, *, phase: Callable[[str], None] = lambda _: None) -> bytes:
        """Compile one graph.

        Args:
            graph: ONNX file.
            phase: receives the phase of the library.

        Raises:
            EngineError: the library refuses the graph.
        """
        trt = self._module
        log = message_log(trt)
        builder = trt.Builder(log)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, log)
        if not parser.parse_from_file(str(graph)):
            errors = [parser.get_error(index) for index in range(parser.num_errors)]
            reasons = [f"{error.node_operator()} {error.node_name()}: {error.desc()}" for error in errors]
            raise self._refusal(graph, reasons or log.errors)
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)
        config.progress_monitor = monitor = _phase_monitor(trt, phase)
        profile = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            _, *shape = tensor.shape
            profile.set_shape(tensor.name, *((tiles, *shape) for tiles in (MIN_TILES, USUAL_TILES, MAX_TILES)))
        config.add_optimization_profile(profile)
        if self._capability is not None:
            config.num_compute_capabilities = 1
            config.set_compute_capability(self._capability, 0)
        if self.library is TensorRTLibrary.TENSORRT:
            config.set_timing_cache(config.create_timing_cache(self.timing_cache), False)
        engine = builder.build_serialized_network(network, config)
        if self.library is TensorRTLibrary.TENSORRT:
            self.timing_cache = bytes(config.get_timing_cache().serialize())  # while its owner, the builder, exists
        if monitor.stopped_by is not None:
            raise monitor.stopped_by
        if engine is None:
            raise self._refusal(graph, log.errors)
        return bytes(engine)

    def _refusal(self, graph: Path, reasons: list[str]) -> EngineError:
        reason = " ".join(reasons[0].split()) if reasons else "no reason given"
        return EngineError(
            f"{self.library.product} {self.version} cannot build {graph.name} for compute capability "
            f"{self.compute_capability} ({reason})"
        )


def compute_capabilities(module: Any) -> dict[str, Any]:
    """Return the GPUs that a library builds for, "8.6" → the library's own name, by rising version."""
    found = {}
    for name, value in module.ComputeCapability.__members__.items():
        if match := re.fullmatch(r"SM(\d+)(\d)", name):
            found[tuple(map(int, match.groups()))] = value
    return {f"{major}.{minor}": found[major, minor] for major, minor in sorted(found)}


def _phase_monitor(module: Any, phase: Callable[[str], None]) -> Any:
    class PhaseMonitor(module.IProgressMonitor):  # type: ignore[misc]  # known when run
        """Ends the build when `phase` raises, such as after Ctrl-C, so no exception passes through the library."""

        def __init__(self) -> None:
            super().__init__()
            self.stopped_by: BaseException | None = None
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            self._tell(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(f"{phase_name} {step + 1}/{self._steps.get(phase_name, step + 1)}")
            return self.stopped_by is None

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def _tell(self, what: str) -> None:
            try:
                phase(what)
            except BaseException as error:
                self.stopped_by = error

    return PhaseMonitor()
