"""A function of 0, 1, 2, ... computed by several processes, its results in order."""

from __future__ import annotations

import itertools
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def ordered_map(function: Callable[[int], Result], workers: int = 1, n: int | None = None) -> Iterator[Result]:
    """Yield ``function(0), function(1), ...``; `n` of them, or without end.

    At most a few results a worker are computed ahead of the one that is asked for. `function` must be picklable when
    ``workers > 1``; each worker is a fresh process.
    """
    indices = itertools.count() if n is None else iter(range(n))
    if workers <= 1:
        yield from map(function, indices)
        return
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        ahead: deque[Future[Result]] = deque(pool.submit(function, i) for i in itertools.islice(indices, 3 * workers))
        while ahead:
            result = ahead.popleft().result()
            following = next(indices, None)
            if following is not None:
                ahead.append(pool.submit(function, following))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
