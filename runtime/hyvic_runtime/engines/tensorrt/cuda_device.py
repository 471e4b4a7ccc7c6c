"""Memory, copies and a stream of the first CUDA device, through the Python bindings of NVIDIA."""

from __future__ import annotations

import importlib
import weakref
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from hyvic_runtime.errors import EngineError


class CudaDevice:
    """The first CUDA device, with its own stream."""

    def __init__(self) -> None:
        """Open the device and create a stream.

        Raises:
            EngineError: the bindings are missing, or there is no device.
        """
        try:
            self._runtime: Any = importlib.import_module("cuda.bindings.runtime")
        except ImportError as error:
            raise EngineError("cuda-bindings is missing: pip install 'hyvic-onboard[tensorrt]'") from error
        self._call("cudaGetDeviceCount")
        (self.stream,) = self._call("cudaStreamCreate")
        weakref.finalize(self, self._runtime.cudaStreamDestroy, self.stream)

    @property
    def compute_capability(self) -> str:
        """Compute capability of the device, for example "8.7" for a Jetson Orin."""
        attributes = self._runtime.cudaDeviceAttr
        major, minor = (
            self._call("cudaDeviceGetAttribute", attribute, 0)[0]
            for attribute in (
                attributes.cudaDevAttrComputeCapabilityMajor,
                attributes.cudaDevAttrComputeCapabilityMinor,
            )
        )
        return f"{major}.{minor}"

    @property
    def name(self) -> str:
        """Product name of the device."""
        (properties,) = self._call("cudaGetDeviceProperties", 0)
        return bytes(properties.name).split(b"\0")[0].decode()

    def upload(self, array: NDArray[Any], buffer: DeviceBuffer) -> None:
        """Queue a copy of a C-contiguous array to the device; the array must live until `synchronise`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", buffer.address, array.ctypes.data, array.nbytes, kind, self.stream)

    def download(self, buffer: DeviceBuffer, array: NDArray[Any]) -> None:
        """Queue a copy from the device into a C-contiguous array; the array is complete after `synchronise`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, buffer.address, array.nbytes, kind, self.stream)

    def synchronise(self) -> None:
        """Wait until all queued work is done."""
        self._call("cudaStreamSynchronize", self.stream)

    def allocate(self, octets: int) -> DeviceBuffer:
        """Return new device memory, which is freed together with the buffer object."""
        (address,) = self._call("cudaMalloc", octets)
        buffer = DeviceBuffer(int(address), octets)
        weakref.finalize(buffer, self._runtime.cudaFree, address)
        return buffer

    def _call(self, function: str, *arguments: Any) -> tuple[Any, ...]:
        status, *results = getattr(self._runtime, function)(*arguments)
        if status != self._runtime.cudaError_t.cudaSuccess:
            reason = f"{function}: {status.name}"
            if function == "cudaGetDeviceCount":
                raise EngineError(
                    f"no CUDA device here ({reason}); use a machine with one, or pass --engine onnxruntime"
                )
            raise EngineError(f"the CUDA device failed ({reason})")
        return tuple(results)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class DeviceBuffer:
    """Memory on the device.

    Attributes:
        address: address on the device.
        octets: size of the memory.
    """

    address: int
    octets: int
