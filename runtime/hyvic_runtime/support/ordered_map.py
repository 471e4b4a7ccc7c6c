"""Tiles worked on at a time, by threads: engines and coders leave the interpreter to others while they compute."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """What `work` gives for every item, in the items' order.

    At most `workers` items are worked on at a time and as many wait, whether their results are done or not, so memory
    does not depend on how many there are. Where an item fails or the caller stops, what waits is dropped and what
    is under way is waited for.

    >>> list(ordered_map(lambda number: number**2, range(4), workers=2))
    [0, 1, 4, 9]
    """
    under_way: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, "in-order") as pool:
        try:
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) == 2 * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
