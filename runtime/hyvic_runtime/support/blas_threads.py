"""Limits the number of cores that matrix products of NumPy use.

When several tiles are worked on at the same time, a product on all cores takes the cores away from the other tiles.
Its threads also spin while they wait for each other and for the next product.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread_each(*, where: bool = True) -> AbstractContextManager[None]:
    """Let each matrix product use one core, until the last thread has left such a block.

    Args:
        where: False leaves the number of cores unchanged.
    """
    return _SHARED if where else nullcontext()


class _Limit(AbstractContextManager[None]):
    """Counts the threads inside a block, because the setting of the libraries holds for the whole process."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limited: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limited = _libraries().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limited.restore_original_limits()


_SHARED = _Limit()


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
