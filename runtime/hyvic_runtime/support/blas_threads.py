"""How many cores NumPy's matrix products take.

Where several tiles are worked on at a time, a product on all cores takes them from the tiles; and its threads wait for
each other and for the next product by spinning.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread_each(*, where: bool = True) -> Iterator[None]:
    """Let products take one core each until the last of those leaves that are in here at once, in any threads.

    Args:
        where: False: leave them as they are.
    """
    if not where:
        yield
        return
    _SHARED.enter()
    try:
        yield
    finally:
        _SHARED.leave()


class _Limit:
    """The libraries' setting is the process's, so threads share it."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limited: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limited = _libraries().limit(limits=1, user_api="blas")
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limited.restore_original_limits()


_SHARED = _Limit()


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
