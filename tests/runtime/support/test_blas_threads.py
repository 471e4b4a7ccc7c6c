from __future__ import annotations

from threading import Barrier, Thread

import pytest
from hyvic_runtime.support.blas_threads import one_thread_each
from threadpoolctl import ThreadpoolController


def _threads() -> list[int]:
    return [library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()]


@pytest.fixture
def before() -> list[int]:
    threads = _threads()
    if max(threads, default=1) == 1:
        pytest.skip("NumPy's matrix library has one thread here")
    return threads


def test_products_take_one_core_inside_and_what_they_took_outside(before: list[int]) -> None:
    with one_thread_each():
        assert set(_threads()) == {1}
        with one_thread_each():
            assert set(_threads()) == {1}
        assert set(_threads()) == {1}
    assert _threads() == before
    with one_thread_each(where=False):
        assert _threads() == before


def test_the_last_thread_to_leave_sets_it_back(before: list[int]) -> None:
    entered, left = Barrier(2), Barrier(2)

    def work() -> None:
        with one_thread_each():
            entered.wait()
        left.wait()

    other = Thread(target=work)
    with one_thread_each():
        other.start()
        entered.wait()
        left.wait()
        other.join()
        assert set(_threads()) == {1}
    assert _threads() == before


def test_an_error_inside_sets_it_back(before: list[int]) -> None:
    with pytest.raises(ZeroDivisionError), one_thread_each():
        raise ZeroDivisionError
    assert _threads() == before
