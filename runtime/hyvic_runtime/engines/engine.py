"""The engine protocol, and ONNX Runtime as an engine."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from hyvic_runtime.errors import EngineError, one_line


class Engine(Protocol):
    """A loaded graph. Several threads may run it at the same time."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return all outputs by name.

        Inputs and outputs are C-contiguous arrays. The engine keeps no reference to them.
        """
        ...

    def describe(self) -> str:
        """Return library, version and device as text for reports."""
        ...


class Provider(Enum):
    """Execution provider of ONNX Runtime: its name, its options, and its name for people."""

    CPU = ("CPUExecutionProvider", (), f"CPU ({platform.machine()})")
    # TF32 is the default; it would keep the entropy path exact but change every latent slightly.
    CUDA = ("CUDAExecutionProvider", (("use_tf32", "0"),), "CUDA")
    TENSORRT = ("TensorrtExecutionProvider", (), "its TensorRT provider")


class OnnxRuntimeEngine:
    """A graph in ONNX Runtime."""

    def __init__(self, model: Path, *, provider: Provider = Provider.CPU, threads: int = 0) -> None:
        """Load a graph.

        Args:
            model: ONNX file.
            provider: device that runs the graph; no other device replaces it silently.
            threads: number of processor threads of one call; 0 leaves the choice to ONNX Runtime.

        Raises:
            EngineError: ONNX Runtime is missing, lacks the provider, or refuses the graph.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError(
                "onnxruntime is missing: pip install 'hyvic-onboard[cpu]' (with CUDA: 'hyvic-onboard[gpu]')"
            ) from error
        onnxruntime.disable_telemetry_events()  # nothing may leave the machine
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._version = onnxruntime.__version__
        name, provider_options, self._device = provider.value
        missing_device = EngineError(
            f"ONNX Runtime {self._version} cannot use {self._device} here; in an environment without onnxruntime: "
            "pip install 'hyvic-onboard[gpu]', or pass --engine onnxruntime"
        )
        if name not in onnxruntime.get_available_providers():
            raise missing_device
        try:
            self._session: Any = onnxruntime.InferenceSession(str(model), options, [(name, dict(provider_options))])
        except Exception as error:  # the exceptions of ONNX Runtime have no narrower base class
            raise EngineError(f"{model}: ONNX Runtime {self._version} refuses it ({one_line(error)})") from error
        if self._session.get_providers()[0] != name:  # ONNX Runtime takes the CPU if the device fails
            raise missing_device
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph once and return all outputs by name."""
        try:
            return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))
        except Exception as error:
            raise EngineError(f"ONNX Runtime {self._version} failed ({one_line(error)})") from error

    def describe(self) -> str:
        """Return library, version and device."""
        return f"ONNX Runtime {self._version}, {self._device}"
