"""Imports TensorRT or TensorRT-RTX, which share one API, only when an engine needs it."""

from __future__ import annotations

import importlib
from enum import StrEnum
from typing import Any

from hyvic_runtime.errors import EngineError


class TensorRTLibrary(StrEnum):
    """Package that provides TensorRT."""

    TENSORRT = "tensorrt"
    """Builds an engine on the GPU that will run it, for example on a Jetson."""
    TENSORRT_RTX = "tensorrt-rtx"
    """Builds an engine ahead of time, without a GPU, for desktop and workstation GPUs."""

    def load(self) -> Any:
        """Import and return the Python module.

        Raises:
            EngineError: the library is not installed; the message says how to install it.
        """
        try:
            return importlib.import_module(self.value.replace("-", "_"))
        except ImportError as error:
            raise EngineError(f"{self} is missing: {_INSTALLATION[self]}") from error

    @property
    def product(self) -> str:
        """Product name, as NVIDIA writes it."""
        return "TensorRT" if self is TensorRTLibrary.TENSORRT else "TensorRT-RTX"


_INSTALLATION = {
    TensorRTLibrary.TENSORRT: (
        "on a Jetson it comes with JetPack (sudo apt-get install tensorrt python3-libnvinfer, and an environment made "
        "with --system-site-packages); elsewhere pip install tensorrt"
    ),
    TensorRTLibrary.TENSORRT_RTX: "pip install 'hyvic-onboard[tensorrt-rtx]'",
}


def message_log(module: Any) -> Any:
    """Return a logger for `module` that collects errors in its list `errors` and prints nothing."""

    class MessageLog(module.ILogger):  # type: ignore[misc]  # the base class is known only at run time
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.Severity.ERROR, module.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))

    return MessageLog()
