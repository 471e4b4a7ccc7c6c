"""Makes sure that Ctrl-C stops a loop, even if Python loses the exception."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

Item = TypeVar("Item")


def until_interrupted(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items; after Ctrl-C raise KeyboardInterrupt, at the latest after the current item.

    Python raises KeyboardInterrupt wherever the main thread is. In a callback of the garbage collector (Dask has one),
    Python reports the exception and drops it. Without this function the work would then go on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield from items
        return
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(number, frame)

    def check() -> None:
        if interrupted:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with _dropped_interrupts_hidden():
            for item in items:
                yield item
                check()
            check()
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _dropped_interrupts_hidden() -> Iterator[None]:
    before = sys.unraisablehook

    def report(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            before(unraisable)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before
