"""What runs a graph."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from hyvic_runtime.errors import EngineError


class Engine(Protocol):
    """One loaded graph. Several threads may run it at once."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs by name. Arrays given and received are C-contiguous and the caller's own."""
        ...

    def describe(self) -> str:
        """Library, version and device, for reports."""
        ...


class Provider(Enum):
    """What ONNX Runtime runs a graph on: its name there, its options, and what people call it."""

    CPU = ("CPUExecutionProvider", (), f"CPU ({platform.machine()})")
    # Its default, TF32, would leave the entropy path exact and move every latent a little.
    CUDA = ("CUDAExecutionProvider", (("use_tf32", "0"),), "CUDA")
    TENSORRT = ("TensorrtExecutionProvider", (), "its TensorRT provider")


class OnnxRuntimeEngine:
    """ONNX Runtime."""

    def __init__(self, model: Path, *, provider: Provider = Provider.CPU, threads: int = 0) -> None:
        """Load a graph.

        Args:
            model: ONNX file.
            provider: where it runs; another is never taken in its place.
            threads: processor threads of one call; 0 leaves the choice to ONNX Runtime.

        Raises:
            EngineError: ONNX Runtime is missing, lacks the provider, or refuses the graph.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError("no engine library: pip install 'hyvic-onboard[cpu]' (or [gpu] where CUDA is)") from error
        onnxruntime.disable_telemetry_events()  # nothing on board reports anything to anyone
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._version = onnxruntime.__version__
        name, provider_options, self._device = provider.value
        lacking = EngineError(
            f"ONNX Runtime {self._version} cannot use {self._device} here; in an environment without onnxruntime: "
            "pip install 'hyvic-onboard[gpu]', or pass --engine onnxruntime"
        )
        if name not in onnxruntime.get_available_providers():
            raise lacking
        try:
            self._session: Any = onnxruntime.InferenceSession(str(model), options, [(name, dict(provider_options))])
        except Exception as error:  # its exceptions share no base but this one
            raise EngineError(f"{model}: ONNX Runtime {self._version} refuses it ({_line(error)})") from error
        if self._session.get_providers()[0] != name:  # where the device fails, it takes the CPU
            raise lacking
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph once."""
        try:
            return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))
        except Exception as error:
            raise EngineError(f"ONNX Runtime {self._version} failed ({_line(error)})") from error

    def describe(self) -> str:
        """Library, version and device."""
        return f"ONNX Runtime {self._version}, {self._device}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
