"""Many pieces of work at a time: on threads, or wherever joblib's own context manager says.

``with joblib.parallel_config(backend="dask"):`` around a comparison or a sweep sends its work to a cluster.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Literal, TypeVar

from theory.arithmetic.threads import blas_threads, cores

T = TypeVar("T")

MOST_THREADS = 8
"""Pieces of work at a time at most on threads of our own: more share one memory bus."""

MOST_HELD = 4
"""Values of :class:`Once` that a process keeps."""


def default_threads() -> int:
    """Threads of our own where BLAS has none: both at once are slower than either."""
    return min(cores(), MOST_THREADS) if blas_threads() == 1 else 1


def workers(jobs: int | None = None) -> int | None:
    """How many at a time: what was asked for, else what ``joblib.parallel_config`` says, else threads of our own."""
    from joblib.parallel import get_active_backend

    if jobs is not None:
        return max(1, jobs)
    backend, configured = get_active_backend(prefer="threads")
    plain = type(backend).__name__ == "ThreadingBackend" and configured == 1
    return default_threads() if plain else None


def spread(
    function: Callable[..., T],
    pieces: Sequence[tuple[Any, ...]],
    jobs: int | None,
    prefer: Literal["threads", "processes"] = "threads",
) -> Iterator[tuple[int, T]]:
    """Call ``function(*piece)`` for every piece, and give the number of the piece and the result, as they come in.

    Parameters
    ----------
    jobs : int or None
        At a time; None for what ``joblib.parallel_config`` says, else one. :func:`workers` has another default.
    prefer : {"threads", "processes"}
        Where, unless ``joblib.parallel_config`` says.
    """
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=jobs, prefer=prefer, return_as="generator_unordered")
    results = parallel(delayed(_numbered)(function, i, piece) for i, piece in enumerate(pieces))
    try:
        yield from results
    finally:
        results.close()


def _numbered(function: Callable[..., T], number: int, piece: tuple[Any, ...]) -> tuple[int, T]:
    return number, function(*piece)


class Once(Generic[T]):
    """A value that each process has once, however many pieces of work bring it along: with what it has computed.

    Attributes
    ----------
    value
    """

    def __init__(self, value: T, token: str | None = None) -> None:
        self.value = value
        self._token = token or uuid.uuid4().hex

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._token, self.value)


_held: dict[str, Once[Any]] = {}


def _arrived(token: str, value: Any) -> Once[Any]:
    """The value of the first piece of work that brought it here."""
    if token not in _held:
        while len(_held) >= MOST_HELD:
            _held.pop(next(iter(_held)), None)
        _held[token] = Once(value, token)
    return _held[token]
