"""Compilation of the hot loops by numba: once a machine (cached on disk), without the interpreter's lock.

Integers inside kernels are 64 bits wide unless an array is narrower. Numba checks no index, so every kernel that reads
foreign octets checks its positions itself.

Numba reuses a cached kernel as long as the kernel's own file is unchanged, although helpers from other files are
compiled into it. So the cache is a folder named after all sources of the package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import config as numba_config
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

Integers = NDArray[Any]
"""Array of signed integers inside kernels, where an element is an `int` to its reader."""

if TYPE_CHECKING:

    def signed(value: Any) -> int:
        """Return a value as a signed integer of 64 bits, the type that kernels calculate with."""
        return int(value)

else:
    signed = np.int64  # the only spelling of a conversion that numba knows


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call."""
    config: Any = numba_config  # whose attributes come from the environment, so no type checker sees them
    before = config.CACHE_DIR
    config.CACHE_DIR = str(_cache_folder(before))
    try:
        compiled: Any = numba.njit(cache=True, nogil=True)(function)
    finally:
        config.CACHE_DIR = before
    return cast("Callable[P, R]", compiled)


@cache
def _cache_folder(base: str) -> Path:
    """Return a folder in numba's own, if that is set; numba takes the user's if the folder cannot be written."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return (Path(base) if base else Path(__file__).parent / "__pycache__") / f"kernels-{digest.hexdigest()[:12]}"
