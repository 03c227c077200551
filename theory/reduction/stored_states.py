"""How many real states fit into a budget of stored ones: a pair takes one, and so does a real pole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theory.errors import AccuracyError, OrderError, StabilityError
from theory.reduction.diagonalization import Diagonalization, diagonalize
from theory.systems.system import DiagonalStateSpace, StateSpace, require_stable

Array = NDArray[Any]


class Matrices(NamedTuple):
    """A reduced realization before it is made diagonal."""

    A: Array
    B: Array
    C: Array
    uncertainty: Array  #: entrywise, what ``A`` is off by


class Fit(NamedTuple):
    """The largest realization whose poles fit."""

    k: int
    diagonalization: Diagonalization
    failure: Exception | None  #: why a larger one was refused, if one was

    @property
    def remark(self) -> str:
        """The sentence about it, to be put behind a status."""
        if self.failure is None:
            return ""
        return f"; a larger part of the budget was tried and refused: {self.failure}"


def largest_fit(
    system: DiagonalStateSpace, order: int, most: int, realize: Callable[[int], Matrices], condition_limit: float
) -> Fit:
    """Diagonalize ``realize(k)`` for the largest k up to `most` that is stable and takes at most `order` stored states.

    Raises
    ------
    OrderError, AccuracyError, StabilityError
        None does; the first reason.
    """
    failure: Exception | None = None
    for k in range(most, 0, -1):
        try:
            A, B, C, uncertainty = realize(k)
            if not system.conjugate_pairs:
                A, B, C = (np.asarray(array, dtype=complex) for array in (A, B, C))
            small = StateSpace(A, B, C, np.zeros((C.shape[0], B.shape[1])), dt=system.dt)
            if k > order and np.count_nonzero(small.poles.imag >= 0) > order:
                continue
            found = diagonalize(small, condition_limit=condition_limit, uncertainty=uncertainty)
            if found.system.n > order:
                continue
            require_stable(found.system)
        except (AccuracyError, StabilityError) as error:
            failure = failure or error
            continue
        except np.linalg.LinAlgError as error:
            failure = failure or AccuracyError(f"the reduced system of {k} states is singular: {error}", float("inf"))
            continue
        return Fit(k, found, failure)
    if failure is not None:
        raise failure
    raise OrderError(f"no reduced system fits into {order} stored states: its poles are real", order, 0)
