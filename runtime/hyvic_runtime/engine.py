"""What runs a graph."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import EngineError


class Engine(Protocol):
    """One loaded graph."""

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """All outputs by name. Arrays given and received are C-contiguous and the caller's own."""
        ...

    def describe(self) -> str:
        """Library, version and device, for reports."""
        ...


class OnnxRuntimeEngine:
    """ONNX Runtime on the CPU."""

    def __init__(self, model: Path, *, threads: int = 0) -> None:
        """Load a graph.

        Args:
            model: ONNX file.
            threads: processor threads of one call; 0 leaves the choice to ONNX Runtime.

        Raises:
            EngineError: ONNX Runtime is missing, or refuses the graph.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError("no engine library: pip install 'hyvic-onboard[cpu]' (or [gpu] where CUDA is)") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base but this one
            raise EngineError(f"{model}: ONNX Runtime {onnxruntime.__version__} refuses it ({_line(error)})") from error
        self._version = onnxruntime.__version__
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """Run the graph once."""
        try:
            return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))
        except Exception as error:
            raise EngineError(f"ONNX Runtime {self._version} failed ({_line(error)})") from error

    def describe(self) -> str:
        """Library, version and device."""
        return f"ONNX Runtime {self._version}, CPU ({platform.machine()})"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
