"""Works on several items at the same time with threads; engines and coders release the interpreter while they compute.

Results come in the order of the items.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield `work(item)` for every item, in the order of the items.

    At most `workers` items run and as many wait, so the memory does not depend on the number of items. After an error,
    or when the caller stops, waiting items are dropped and running items are finished.

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
