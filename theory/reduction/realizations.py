"""Other coordinates for the same transfer function: balanced, and with no more states than it has."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theory.errors import OrderError
from theory.reduction.balanced_truncation import _attainable as attainable
from theory.reduction.balanced_truncation import _present as present
from theory.reduction.balanced_truncation import truncate
from theory.reduction.balancing import balance
from theory.systems.given import SystemLike, as_system
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[Any]


class BalancedRealization(NamedTuple):
    """A balanced system and the way there: ``A_b = inverse A T``, ``B_b = inverse B``, ``C_b = C T``."""

    system: StateSpace  #: both Gramians are ``diag(hsv)``
    T: Array  #: (N, N), state of the given system = T times the balanced state
    inverse: Array  #: (N, N)
    hsv: Array  #: (N,), descending


def balanced_realization(system: SystemLike) -> BalancedRealization:
    r"""Return the realization with :math:`P=Q=\mathrm{diag}(\sigma)`, and the transformation to it.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        One stable causal system. Of a diagonal one the dense form is balanced,
        :func:`theory.systems.realization.dense`: of conjugate pairs with the state ``[Re x; Im x]``.

    Returns
    -------
    BalancedRealization

    Raises
    ------
    OrderError
        Fewer states than that are numerically there: :func:`minimal` leaves them. Carries the number.
    StabilityError, InputError, DimensionError
    """
    system = as_system(system)
    full = dense(system)
    if isinstance(system, DiagonalStateSpace) and system.delay == 1:
        shared = balance(system)  # closed-form Gramians of the same coordinates
    else:
        shared = balance(full)
    there = int(present(shared.hsv))
    if there < full.n:
        raise OrderError(
            f"only {there} of {full.n} states are numerically present, so there is no balanced realization; take "
            "minimal(system) first",
            full.n,
            there,
        )
    root = np.sqrt(shared.hsv)
    T, W = shared.right / root, shared.left / root
    inverse = np.linalg.solve(W.conj().T @ T, W.conj().T) if full.n else W.conj().T
    balanced = StateSpace(inverse @ full.A @ T, inverse @ full.B, full.C @ T, full.D, dt=full.dt)
    return BalancedRealization(balanced, T, inverse, shared.hsv)


def minimal(system: SystemLike) -> System:
    r"""Return a system without the states that are numerically not there.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; a batch keeps as many states as its largest channel has.

    Returns
    -------
    System
        Of the same kind: balanced truncation to the states with :math:`\sigma_i>N\varepsilon\sigma_1`; `system` itself
        where all of them are.

    Raises
    ------
    StabilityError
        Take :func:`theory.systems.stable_part.stable_part` first.
    AccuracyError
    """
    system = as_system(system)
    if system.n == 0:
        return system
    shared = balance(system)
    order = min(attainable(shared), system.n)
    return truncate(shared, order, 1e8).system
