"""Descents of a dense system: through its modes, and back to a dense system, compared there.

A real system of order r has r real states, and real poles among them: those stay real, because a pair takes two states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from theory.errors import AccuracyError, InputError
from theory.gramians.h2 import h2_norm
from theory.reduction.dense_modes import realized
from theory.reduction.dense_pairs import CONDITION_LIMIT, modes_of
from theory.reduction.diagonalization import diagonalize
from theory.reduction.hinf_descent import CERTIFIED
from theory.systems.difference import difference
from theory.systems.system import DiagonalStateSpace, StateSpace, require_stable

Descent = Callable[[DiagonalStateSpace, DiagonalStateSpace], DiagonalStateSpace]


def through_modes(system: StateSpace, start: StateSpace, descend: Descent) -> StateSpace:
    """Return what `descend` makes of the modes of `start`, as a dense system of its order; or `start`.

    Parameters
    ----------
    system, start : StateSpace
        Stable; the whole, and where the descent starts.
    descend : callable
        ``descend(modes, modes_of_start)``: a diagonal system with as many real poles and pairs as it was given, or
        that itself where there is nothing better.

    Returns
    -------
    StateSpace
        Stable. `start` where its own modes cannot be told apart. Nothing else is promised: compare it.

    Raises
    ------
    AccuracyError
        The eigenvectors of `system` have a condition number past
        :data:`theory.reduction.dense_pairs.CONDITION_LIMIT`: a defective matrix, or nearly one.
    """
    modes = modes_of(system).system
    try:
        small = diagonalize(start, condition_limit=CONDITION_LIMIT).system
    except AccuracyError:
        return start
    found = descend(modes, small)
    if found is small:
        return start
    written = realized(found, np.arange(found.n))
    if written.n != start.n:
        raise InputError(f"a descent from {start.n} states came back with {written.n}")
    require_stable(written)
    return written


def better_in_h2(system: StateSpace, found: StateSpace, start: StateSpace) -> bool:
    """Whether the H2 error is less, by the norm of dense systems."""
    return bool(h2_norm(difference(system, found)) < h2_norm(difference(system, start)))


def better_in_hinf(
    system: StateSpace, found: StateSpace, start: StateSpace, certify: Callable[[StateSpace, StateSpace, float], Any]
) -> tuple[bool, float]:
    """Whether the certified error is certainly less; and the upper end of its bracket."""
    after, before = certify(system, found, CERTIFIED), certify(system, start, CERTIFIED)
    return bool(after.upper <= before.lower), float(after.upper)
