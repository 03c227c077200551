"""BLAS threads: halved inside, restored outside, however the callers are nested."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from threadpoolctl import threadpool_limits

from theory import threads
from theory.threads import blas_threads, few_threads, one_thread


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "cores", lambda: 4)
    with threadpool_limits(3, user_api="blas"):
        # other packages bring their own, one of them without threads
        threaded = [library for library in threads._libraries() if library.get_num_threads() == 3]
        monkeypatch.setattr(threads, "_libraries", lambda: threaded)
        yield


def counts() -> set[int]:
    return {library.get_num_threads() for library in threads._libraries()}


def test_there_is_a_library_to_limit() -> None:
    assert threads._libraries()


def test_half_of_the_cores_inside_and_all_threads_again_after_an_error() -> None:
    @few_threads
    def work(depth: int) -> None:
        assert counts() == {2}
        if depth == 0:
            raise ValueError
        work(depth - 1)

    assert counts() == {3}
    with pytest.raises(ValueError):
        work(2)
    assert counts() == {3}


def test_fewer_threads_are_left_alone() -> None:
    with threadpool_limits(1, user_api="blas"):
        with few_threads:
            assert counts() == {1}
        assert counts() == {1}


def test_one_thread_within_few() -> None:
    with few_threads, one_thread, few_threads:
        assert counts() == {blas_threads()} == {1}
    assert counts() == {blas_threads()} == {3}


def test_other_threads_change_nothing() -> None:
    seen = []

    def work() -> None:
        with few_threads:
            seen.append(counts())

    for expected in ({3}, {2}):
        with few_threads if expected == {2} else nullcontext():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            assert counts() == expected
        assert seen.pop() == expected
    assert counts() == {3}
