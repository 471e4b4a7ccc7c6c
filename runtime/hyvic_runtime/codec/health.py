"""How an encoder fares: what a flight computer reports in its housekeeping."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyvic_runtime.support.atomic_file import replacing

REPORT_SECONDS = 1.0
"""Between two writings of the file."""
MAX_FALLBACKS = 100
"""Listed one by one; beyond them they are only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A tile that was coded without the engine.

    Attributes:
        row, column: of the tile.
        reason: what the engine said.
    """

    row: int
    column: int
    reason: str


@dataclass(slots=True)
class Health:
    """Counts over all scenes of an encoder so far.

    Attributes:
        tiles: that were coded, every attempt at a budget counted.
        fallback_count: of them coded without the engine.
        fallbacks: the first MAX_FALLBACKS of those.
        queue: tiles under way.
        largest_queue: most of them at once.
        scrubs: how often memory and files were checked again.
        repairs: how often that found a fault in memory, which was mended.
    """

    tiles: int = 0
    fallback_count: int = 0
    fallbacks: list[Fallback] = field(default_factory=list)
    queue: int = 0
    largest_queue: int = 0
    scrubs: int = 0
    repairs: int = 0

    def begin_tile(self) -> None:
        """Note that one more is under way."""
        self.queue += 1
        self.largest_queue = max(self.queue, self.largest_queue)

    def end_tile(self) -> None:
        """Note that one is done."""
        self.queue -= 1
        self.tiles += 1

    def fall_back(self, fallback: Fallback) -> None:
        """Note that one is coded without the engine."""
        self.fallback_count += 1
        if len(self.fallbacks) < MAX_FALLBACKS:
            self.fallbacks.append(fallback)


@contextmanager
def reported(path: Path | None, report: Callable[[], dict[str, Any]]) -> Iterator[Callable[[], None]]:
    """Keep a JSON file of what `report` gives, and of how the block stands: running, done or failed.

    Args:
        path: of the file; None: there is none.
        report: what to write, one JSON object.

    Yields:
        What to call now and then; it writes once in REPORT_SECONDS.
    """
    begun = time.monotonic()
    written = -REPORT_SECONDS

    def write(state: str, problem: str | None = None) -> None:
        if path is not None:
            document = {"state": state, "problem": problem, "seconds": time.monotonic() - begun, **report()}
            with replacing(path) as (partial,):
                partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def beat() -> None:
        nonlocal written
        if time.monotonic() - written >= REPORT_SECONDS:
            written = time.monotonic()
            write("running")

    try:
        beat()
        yield beat
    except BaseException as error:
        with suppress(OSError):  # of the two, what failed first is what to tell
            write("failed", str(error) or type(error).__name__)
        raise
    write("done")
