"""Ctrl-C where something swallows what it raises."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hyvic_runtime.support.sigint import until_interrupted


def _swallowing() -> Iterator[int]:
    yield 1
    with suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    yield 2
    yield 3


def test_an_interruption_that_was_swallowed_still_ends_the_work() -> None:
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    seen: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(until_interrupted(_swallowing()))
    assert seen == [1, 2]
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before


def test_one_that_the_garbage_collector_forgets_ends_it_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    def interrupt(phase: str, info: dict[str, int]) -> None:
        gc.callbacks.remove(interrupt)
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))  # the signal's handler runs between two instructions

    def items() -> Iterator[int]:
        gc.callbacks.append(interrupt)
        gc.collect()
        yield 1
        yield 2

    with pytest.raises(KeyboardInterrupt):
        list(until_interrupted(items()))
    assert capfd.readouterr().err == ""


def test_work_that_nobody_interrupts_is_passed_on() -> None:
    assert list(until_interrupted(iter((1, 2, 3)))) == [1, 2, 3]
