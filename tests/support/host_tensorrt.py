"""TensorRT's and CUDA's Python API on the host: what an engine's user sees, on a machine without a GPU.

It has the calls that the engine makes, named as in the libraries (a test compares the names with tensorrt_rtx), and is
stricter than a device: nothing queued on a stream happens before that stream is synchronised, and memory that was not
allocated cannot be touched. An engine file is an ONNX graph here, and ONNX Runtime computes it.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

MAX_TILES = 4


class cudaError_t(enum.IntEnum):  # noqa: N801 # NVIDIA's name
    cudaSuccess = 0
    cudaErrorNoDevice = 100


class HostCuda(ModuleType):
    """`cuda.bindings.runtime`."""

    cudaError_t = cudaError_t
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaDeviceAttr = SimpleNamespace(cudaDevAttrComputeCapabilityMajor=75, cudaDevAttrComputeCapabilityMinor=76)

    def __init__(self, *, devices: int = 1) -> None:
        super().__init__("cuda.bindings.runtime")
        self.devices = devices
        self.memory: dict[int, Any] = {}
        self.queues: dict[int, list[Callable[[], None]]] = {}

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        return (cudaError_t(0), self.devices) if self.devices else (cudaError_t.cudaErrorNoDevice, None)

    def cudaDeviceGetAttribute(self, attribute: int, device: int) -> tuple[Any, ...]:
        return cudaError_t(0), {75: 8, 76: 7}[attribute]

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        return cudaError_t(0), SimpleNamespace(name=b"Host" + bytes(252))

    def cudaStreamCreate(self) -> tuple[Any, ...]:
        stream = 1000 + len(self.queues)
        self.queues[stream] = []
        return cudaError_t(0), stream

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        del self.queues[stream]
        return (cudaError_t(0),)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        queue, self.queues[stream] = self.queues[stream], []
        for task in queue:
            task()
        return (cudaError_t(0),)

    def cudaMalloc(self, octets: int) -> tuple[Any, ...]:
        buffer = ctypes.create_string_buffer(octets)
        self.memory[ctypes.addressof(buffer)] = buffer
        return cudaError_t(0), ctypes.addressof(buffer)

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        del self.memory[address]
        return (cudaError_t(0),)

    def cudaMemcpyAsync(self, to: int, source: int, octets: int, kind: int, stream: int) -> tuple[Any, ...]:
        device = to if kind == self.cudaMemcpyKind.cudaMemcpyHostToDevice else source
        assert octets <= len(self.memory[device])
        self.queues[stream].append(lambda: ctypes.memmove(to, source, octets) and None)
        return (cudaError_t(0),)


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class DataType(enum.IntEnum):
    FLOAT = 0
    INT32 = 3


class TensorIOMode(enum.IntEnum):
    INPUT = 1
    OUTPUT = 2


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine, self._shapes, self._addresses = engine, dict[str, tuple[int, ...]](), dict[str, int]()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self._engine.get_tensor_profile_shape(name, 0)
        fits = len(shape) == len(low) and all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
        if fits:
            self._shapes[name] = tuple(shape)
        return fits

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        _, *shape = self._engine.tensors[name].shape
        (tiles,) = {shape[0] for shape in self._shapes.values()}
        return tiles, *shape

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self._addresses.keys() != self._engine.tensors.keys():
            return False
        self._engine.cuda.queues[stream_handle].append(self._execute)
        return True

    def _execute(self) -> None:
        memory = self._engine.cuda.memory
        inputs = {
            name: np.frombuffer(memory[self._addresses[name]], np.float32, int(np.prod(shape))).reshape(shape)
            for name, shape in self._shapes.items()
        }
        for name, output in zip(self._engine.outputs, self._engine.session.run(None, inputs), strict=True):
            ctypes.memmove(self._addresses[name], output.tobytes(), output.nbytes)
            assert output.nbytes <= len(memory[self._addresses[name]])


class ICudaEngine:
    def __init__(self, session: onnxruntime.InferenceSession, cuda: HostCuda) -> None:
        self.session, self.cuda = session, cuda
        self.outputs = [tensor.name for tensor in session.get_outputs()]
        self.tensors = {tensor.name: tensor for tensor in (*session.get_inputs(), *session.get_outputs())}

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_dtype(self, name: str) -> DataType:
        return {"tensor(float)": DataType.FLOAT, "tensor(int32)": DataType.INT32}[self.tensors[name].type]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.OUTPUT if name in self.outputs else TensorIOMode.INPUT

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        _, *shape = self.tensors[name].shape
        return [(tiles, *shape) for tiles in (1, 1, MAX_TILES)]

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)


class HostTensorRT(ModuleType):
    """`tensorrt`."""

    __version__ = "10.3.0"
    ILogger, DataType, TensorIOMode = ILogger, DataType, TensorIOMode

    def __init__(self, cuda: HostCuda) -> None:
        super().__init__("tensorrt")
        self._cuda = cuda

    def Runtime(self, logger: ILogger) -> Any:
        def deserialize_cuda_engine(serialized_engine: bytes) -> ICudaEngine | None:
            try:
                return ICudaEngine(onnxruntime.InferenceSession(serialized_engine), self._cuda)
            except Exception:  # its exceptions share no base but this one
                logger.log(ILogger.Severity.ERROR, "IRuntime::deserializeCudaEngine:\nmagic tag does not match")
                return None

        return SimpleNamespace(deserialize_cuda_engine=deserialize_cuda_engine)
