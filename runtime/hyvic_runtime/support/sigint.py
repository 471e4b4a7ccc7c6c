"""Ctrl-C that is not lost."""

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
    """Pass items on; after Ctrl-C end with KeyboardInterrupt, behind the item that came then if not at once.

    Python raises it wherever the main thread happens to be. In a callback of the garbage collector, of which Dask has
    one, it is reported and forgotten, and the work would go on as if nobody had asked it to stop.
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
        with _quiet_where_lost():
            for item in items:
                yield item
                check()
            check()
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet_where_lost() -> Iterator[None]:
    before = sys.unraisablehook

    def report(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            before(unraisable)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before
