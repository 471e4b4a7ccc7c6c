"""How the hot loops are compiled: by numba, once a machine (cached on disk), without the interpreter's lock.

Integers inside are 64 bits wide unless an array is narrower. Numba checks no index, so every kernel that reads
foreign octets checks its positions itself.

Numba takes a cached kernel for current as long as the kernel's own file is, although helpers from other files are
compiled into it. So the cache is a folder named after the sources of the whole package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_cache_folder(before))
    try:
        compiled: Callable[P, R] = numba.njit(function, cache=True, nogil=True)
    finally:
        numba.config.CACHE_DIR = before
    return compiled


@cache
def _cache_folder(base: str) -> Path:
    """Below numba's folder where one is set; numba falls back to the user's if it cannot be written."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return (Path(base) if base else Path(__file__).parent / "__pycache__") / f"kernels-{digest.hexdigest()[:12]}"
