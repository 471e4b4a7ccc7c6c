"""`.npy` files read in part; never unpickled."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hyvic_runtime.errors import SceneError
from numpy.typing import NDArray

_START_OCTETS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayStart:
    """Contents of the first few thousand octets of a file.

    Attributes:
        shape: shape of the array.
        values: the first values in the order of the file, one axis.
    """

    shape: tuple[int, ...]
    values: NDArray[Any]


def array_start(path: Path) -> ArrayStart:
    """Read header and first values in one plain read: mapping ten thousand files takes several times as long.

    Raises:
        SceneError: objects, or fewer octets than the header announces.
    """
    with path.open("rb") as file:
        npy: Any = np.lib.format  # NumPy 1.26 gives these functions no types
        read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.hasobject:
            raise SceneError("holds pickled objects, which are never loaded; save numbers")
        needed, got = file.tell() + math.prod(shape) * dtype.itemsize, os.fstat(file.fileno()).st_size
        if got < needed:
            raise SceneError(f"cut short: {needed} octets are announced, {got} are there; fetch it again")
        count = min(_START_OCTETS // dtype.itemsize, math.prod(shape))
        return ArrayStart(shape=shape, values=np.frombuffer(file.read(count * dtype.itemsize), dtype))


def mapped(path: Path) -> NDArray[Any]:
    """Map the whole array; only the parts that are used get read."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
