"""Few BLAS threads: NumPy and SciPy bring a BLAS each, and the idle threads of one spin in the way of the other.

Matrices of a few hundred rows, factorized by SciPy and multiplied by NumPy in turn, take two to four times as long on
two cores with two threads each as with one (``tests/benchmarks/blas_threads.py``).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from functools import cache
from typing import Any

import numpy as np  # noqa: F401 - brings its BLAS, which must be there before the libraries are listed
import scipy.linalg  # noqa: F401 - the same
from threadpoolctl import ThreadpoolController


@cache
def _libraries() -> list[Any]:
    """The BLAS libraries of this process."""
    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


class Limit(ContextDecorator):
    """Leaves each BLAS at most `most` threads while the main thread is inside, and then what it had before.

    Only the main thread: OpenBLAS does not listen to another one after that, so it could not be undone.
    """

    def __init__(self, most: Callable[[Any], int]) -> None:
        self._most = most
        self._before: list[list[tuple[Any, int]]] = []

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            counts = [(library, library.get_num_threads() or 1) for library in _libraries()]
            self._before.append([(library, count) for library, count in counts if count > self._most(library)])
            for library, _ in self._before[-1]:
                library.set_num_threads(self._most(library))

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for library, count in self._before.pop():
                library.set_num_threads(count)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blas_threads() -> int:
    """The most threads that a BLAS of this process uses now."""
    return max((library.get_num_threads() or 1 for library in _libraries()), default=1)


def _share(library: Any) -> int:
    """Threads of a BLAS such that NumPy's and SciPy's, idle or not, have a core each; the caller is in both teams."""
    if len(_libraries()) == 1:
        return cores()
    return cores() // 2 + 1 if "numpy" in str(library.filepath) else max(1, cores() - cores() // 2)


few_threads = Limit(_share)
"""Decorator, or context manager, of work on matrices of a few hundred rows; may be nested."""

one_thread = Limit(lambda library: 1)
"""The same for many such pieces of work at a time, on threads of our own."""
