"""BLAS threads: no more than cores inside, restored outside, however the callers are nested."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from threadpoolctl import threadpool_limits

from theory.arithmetic import threads
from theory.arithmetic.threads import blas_threads, few_threads, one_thread


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "cores", lambda: 4)
    with threadpool_limits(4, user_api="blas"):
        # packages beside NumPy and SciPy bring their own, one of them without threads
        both = [library for library in threads._libraries() if library.get_num_threads() == 4][:2]
        monkeypatch.setattr(threads, "_libraries", lambda: both)
        yield


def counts() -> list[int]:
    return [library.get_num_threads() for library in threads._libraries()]


def few() -> list[int]:
    with few_threads:
        return counts()


ALL = [4, 4]


def test_every_thread_has_a_core_and_all_are_back_after_an_error() -> None:
    @few_threads
    def work(depth: int) -> None:
        assert sorted(counts()) == [2, 3]  # the calling thread is in both teams: 1 + 1 + 2
        if depth == 0:
            raise ValueError
        work(depth - 1)

    assert counts() == ALL
    with pytest.raises(ValueError):
        work(2)
    assert counts() == ALL


def test_numpy_has_most() -> None:
    shares = {"numpy" in library.filepath: count for library, count in zip(threads._libraries(), few(), strict=True)}
    assert shares == {True: 3, False: 2}


@pytest.mark.parametrize("cores", range(1, 9))
def test_no_more_threads_than_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    assert 1 + sum(count - 1 for count in few()) == min(cores, 1 + sum(count - 1 for count in ALL))


def test_a_library_alone_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = threads._libraries()[:1]
    monkeypatch.setattr(threads, "_libraries", lambda: alone)
    assert few() == ALL[:1]


def test_fewer_threads_are_left_alone() -> None:
    with threadpool_limits(1, user_api="blas"):
        assert few() == counts() == [1, 1]


def test_one_thread_within_few() -> None:
    with few_threads, one_thread, few_threads:
        assert counts() == [1, 1]
        assert blas_threads() == 1
    assert counts() == ALL
    assert blas_threads() == 4


def test_other_threads_change_nothing() -> None:
    for inside in (False, True):
        with few_threads if inside else nullcontext(), ThreadPoolExecutor(1) as pool:
            assert pool.submit(few).result() == counts()
            assert (counts() != ALL) == inside
    assert counts() == ALL
