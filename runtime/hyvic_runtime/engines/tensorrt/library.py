"""The two libraries that share TensorRT's API, imported only when asked for."""

from __future__ import annotations

import importlib
from enum import StrEnum
from typing import Any

from hyvic_runtime.errors import EngineError


class TensorRTLibrary(StrEnum):
    """TensorRT in one of its packages."""

    TENSORRT = "tensorrt"
    """Builds on the GPU that will run the engine: a Jetson's."""
    TENSORRT_RTX = "tensorrt-rtx"
    """Builds ahead of time, without a GPU, for desktop and workstation GPUs."""

    def load(self) -> Any:
        """Its Python module.

        Raises:
            EngineError: it is not installed; the message says how to install it.
        """
        try:
            return importlib.import_module(self.value.replace("-", "_"))
        except ImportError as error:
            raise EngineError(f"{self} is missing: {_INSTALLATION[self]}") from error

    @property
    def product(self) -> str:
        """As NVIDIA writes it."""
        return "TensorRT" if self is TensorRTLibrary.TENSORRT else "TensorRT-RTX"


_INSTALLATION = {
    TensorRTLibrary.TENSORRT: (
        "on a Jetson it comes with JetPack (sudo apt-get install tensorrt python3-libnvinfer, and an environment made "
        "with --system-site-packages); elsewhere pip install tensorrt"
    ),
    TensorRTLibrary.TENSORRT_RTX: "pip install 'hyvic-onboard[tensorrt-rtx]'",
}


def message_log(module: Any) -> Any:
    """A logger for `module` that keeps errors in its list `errors` and prints nothing."""

    class MessageLog(module.ILogger):  # type: ignore[misc]  # known when run
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.Severity.ERROR, module.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))

    return MessageLog()
