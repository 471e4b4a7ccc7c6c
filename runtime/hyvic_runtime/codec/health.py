"""Counts the work and the faults of an encoder, for the housekeeping of a flight computer."""

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
"""Time between two updates of the file."""
MAX_FALLBACKS = 100
"""Number of fallbacks that are listed; later fallbacks are only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """Tile that was coded exactly, because the engine failed on it.

    Attributes:
        row, column: position of the tile in the grid.
        reason: message of the engine.
    """

    row: int
    column: int
    reason: str


@dataclass(slots=True)
class Health:
    """Counts over all scenes of an encoder so far.

    Attributes:
        tiles: number of coded tiles; every attempt of a rate search counts.
        fallback_count: number of tiles coded without the engine.
        fallbacks: the first MAX_FALLBACKS of these tiles.
        queue: number of tiles in work.
        largest_queue: largest value of `queue`.
        scrubs: number of checks of the memory and the files of the bundle.
        repairs: number of checks that found and repaired a fault in memory.
    """

    tiles: int = 0
    fallback_count: int = 0
    fallbacks: list[Fallback] = field(default_factory=list)
    queue: int = 0
    largest_queue: int = 0
    scrubs: int = 0
    repairs: int = 0

    def begin_tile(self) -> None:
        """Count a tile whose work begins."""
        self.queue += 1
        self.largest_queue = max(self.queue, self.largest_queue)

    def end_tile(self) -> None:
        """Count a tile whose work is done."""
        self.queue -= 1
        self.tiles += 1

    def fall_back(self, fallback: Fallback) -> None:
        """Count a tile that is coded without the engine."""
        self.fallback_count += 1
        if len(self.fallbacks) < MAX_FALLBACKS:
            self.fallbacks.append(fallback)


@contextmanager
def reported(path: Path | None, report: Callable[[], dict[str, Any]]) -> Iterator[Callable[[], None]]:
    """Keep a JSON file with the result of `report` and the state of the block: running, done or failed.

    Args:
        path: path of the file; None writes no file.
        report: returns the JSON object to write.

    Yields:
        Function to call often; it writes the file at most once in REPORT_SECONDS.
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
        with suppress(OSError):  # the first error is the one to report
            write("failed", str(error) or type(error).__name__)
        raise
    write("done")
