"""How the hot loops are compiled: by numba, once a machine (cached on disk), without the interpreter's lock.

Integers inside are 64 bits wide unless an array is narrower. Numba checks no index, so every kernel that reads
foreign octets checks its positions itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call."""
    compiled: Callable[P, R] = numba.njit(function, cache=True, nogil=True)
    return compiled
