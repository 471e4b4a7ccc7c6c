"""Runs a graph that TensorRT compiled, on the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.engines.tensorrt.cuda_device import CudaDevice, DeviceBuffer
from hyvic_runtime.engines.tensorrt.library import TensorRTLibrary, message_log
from hyvic_runtime.errors import EngineError


class TensorRTEngine:
    """A compiled graph in TensorRT or TensorRT-RTX on the first CUDA device.

    Names, types and shapes come from the engine file. Device memory grows with the largest batch and is kept.
    """

    def __init__(self, engine: Path, library: TensorRTLibrary, *, built_with: str | None = None) -> None:
        """Load an engine file.

        An engine file is native code. Load only files whose SHA-256 stands in the manifest of the bundle.

        Args:
            engine: file that export-engine built.
            library: library that built the file.
            built_with: version of the library that built the file, if known.

        Raises:
            EngineError: the library or a GPU is missing, or the library refuses the file.
        """
        module = library.load()
        self._title = f"{library.product} {module.__version__}"
        if built_with not in (None, module.__version__):
            raise EngineError(
                f"{engine} was built with {library.product} {built_with}, and version {module.__version__} is "
                f"installed; build it again here: export-engine --bundle {engine.parent} --out {engine.parent} "
                f"--target {library} --force"
            )
        self._device = CudaDevice()
        self._log = message_log(module)
        # The engine needs the runtime, and the runtime needs the logger, for their whole life.
        self._runtime = module.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(engine.read_bytes())
        if self._engine is None:
            raise self._failure(f"{engine} cannot be loaded")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._failure(f"{engine} does not fit the memory of the device")
        numpy_types = {module.DataType.FLOAT: np.float32, module.DataType.INT32: np.int32}
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            data_type = self._engine.get_tensor_dtype(name)
            if data_type not in numpy_types:
                raise EngineError(f"{engine}: {name} is {data_type}, not float32 or int32; export the bundle again")
            is_input = self._engine.get_tensor_mode(name) == module.TensorIOMode.INPUT
            (self._inputs if is_input else self._outputs)[name] = numpy_types[data_type]
        self._buffers: dict[str, DeviceBuffer] = {}
        self._free = Lock()  # there is one context and one set of buffers, so one call at a time

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the engine once: upload, enqueue, download, wait."""
        with self._free:
            return self._run(inputs)

    def _run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if inputs.keys() != self._inputs.keys():
            raise EngineError(f"the engine takes {sorted(self._inputs)}, not {sorted(inputs)}")
        self._log.errors.clear()
        inputs = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        for name, array in inputs.items():
            if array.dtype != self._inputs[name]:
                raise EngineError(f"{name} is {array.dtype}; the engine takes {np.dtype(self._inputs[name])}")
            if not self._context.set_input_shape(name, array.shape):
                low, _, high = (tuple(shape) for shape in self._engine.get_tensor_profile_shape(name, 0))
                raise EngineError(f"{name} of shape {array.shape} does not fit the engine, which takes {low} … {high}")
        outputs = {
            name: np.empty(tuple(self._context.get_tensor_shape(name)), dtype) for name, dtype in self._outputs.items()
        }
        for name, array in (*inputs.items(), *outputs.items()):
            self._context.set_tensor_address(name, self._buffer(name, array.nbytes).address)
        for name, array in inputs.items():
            self._device.upload(array, self._buffers[name])
        if not self._context.execute_async_v3(int(self._device.stream)):
            raise self._failure("the engine failed")
        for name, array in outputs.items():
            self._device.download(self._buffers[name], array)
        self._device.synchronise()
        return outputs

    def describe(self) -> str:
        """Return library, version and device."""
        return f"{self._title}, {self._device.name}"

    def _buffer(self, name: str, octets: int) -> DeviceBuffer:
        if name not in self._buffers or self._buffers[name].octets < octets:
            self._buffers[name] = self._device.allocate(octets)
        return self._buffers[name]

    def _failure(self, what: str) -> EngineError:
        return EngineError(f"{self._title}: {what} ({self._log.errors[0] if self._log.errors else 'no reason given'})")
