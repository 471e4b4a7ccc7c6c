from __future__ import annotations

import threading

import pytest
from hyvic_train.training_loop import prepared


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_data_come_in_the_order_of_the_steps(workers: int) -> None:
    assert list(prepared(lambda step: step * step, range(3, 20), workers)) == [step * step for step in range(3, 20)]
    assert list(prepared(lambda step: step, range(0), workers)) == []


def test_the_next_steps_are_prepared_while_one_computes() -> None:
    ready = [threading.Event() for _ in range(4)]
    data = prepared(lambda step: ready[step].set(), range(4), workers=2)
    next(data)
    for event in ready:  # two workers keep three steps ahead of the one that computes
        assert event.wait(timeout=60)
    data.close()


def test_an_end_waits_for_no_step_that_was_not_begun() -> None:
    begun = []
    data = prepared(begun.append, range(10**6), workers=2)
    next(data)
    data.close()
    assert len(begun) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("in-order")]
