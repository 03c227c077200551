"""What reductions share: the result, and the order-independent part of balancing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.gramians.dense import DenseGramians, dense_gramians
from theory.gramians.hankel import balancing_factors, causal_hankel_singular_values
from theory.systems.given import SystemLike, as_system
from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[Any]


class Remark(Enum):
    """What is not quite what was asked for, as a value; the sentence about it is in the ``status``."""

    FEWER_STATES = "fewer states"  #: the order is less than asked: what was left over fits nothing better
    PARTLY_REFUSED = "partly refused"  #: more of the budget was tried, and refused for want of accuracy or stability
    NOT_IMPROVED = "not improved"  #: a descent found nothing better than its start, which is what is returned
    FILLED_UP = "filled up"  #: channels of a batch that need fewer states than the others got states of zero gain


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Truncation:
    """A reduced system and what is known about it beforehand.

    Attributes
    ----------
    system : StateSpace or DiagonalStateSpace
        The reduced system, of the same kind as the original: same ``dt``, ``D``, delays.
    order : int
        Its number of states: stored ones for a diagonal system.
    hsv : ndarray, shape (..., N)
        Hankel singular values of the original, of ``(A, B, C)`` as stored.
    bound : float or ndarray
        A-priori bound on the H-infinity norm of the error of `system` as written, rounding allowed for to first order.
    floor : float or ndarray
        No system of this order with the same ``D`` has a smaller error.
    status : str
        One sentence: what was done, and what to do about it if it is not what was asked.
    remarks : tuple of Remark
        The same for programs: empty if it is what was asked.
    kept : ndarray of int or None
        If every reduced state is a stored one, bit for bit: which, (r,), in a batch (..., r). None for new states.
    diagnostics : dict
        Numbers behind the result: eigenvector condition, perturbation by re-diagonalization, states used.
    """

    system: System
    order: int
    hsv: Array
    bound: Any
    floor: Any
    status: str
    remarks: tuple[Remark, ...] = ()
    kept: Array | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        worst = float(np.max(self.bound))
        return f"Truncation(order={self.order}, bound={worst:.6g}, {self.system!r})"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Balancing:
    """The order-independent part of balanced truncation, to be shared between orders: see :func:`balance`."""

    system: System
    hsv: Array  #: (..., N)
    floor_hsv: Array  #: (..., N), the values that bound the error from below
    left: Array  #: (..., N, N), ``Lo U``
    right: Array  #: (..., N, N), ``Lc V``
    proved: DenseGramians | None = None  #: of a dense system: what is known of its Gramians, and how well

    @property
    def ceiling_hsv(self) -> Array:
        """What bounds the error from above, (..., N): of a dense system with the proved error added."""
        if self.proved is None:
            return self.hsv
        return np.sort(self.hsv + self.proved.spectrum.error)[::-1]


def balance(system: SystemLike) -> Balancing:
    r"""Return :math:`L_oU` and :math:`L_cV` of the singular value decomposition :math:`L_o^*L_c=U\Sigma V^*`.

    Raises
    ------
    StabilityError
        A pole lies on or outside the boundary.
    AccuracyError
        Neither float64 nor integers prove the Gramians of a dense system.
    """
    system = as_system(system)
    left, hsv, right = balancing_factors(system)
    floor_hsv = hsv
    if isinstance(system, DiagonalStateSpace) and system.is_bidirectional:
        floor_hsv = causal_hankel_singular_values(system)
    proved = dense_gramians(system) if isinstance(system, StateSpace) and system.n else None
    if proved is not None:
        floor_hsv = np.minimum.accumulate(np.maximum(hsv - proved.spectrum.error, 0.0))
    return Balancing(system=system, hsv=hsv, floor_hsv=floor_hsv, left=left, right=right, proved=proved)


def real_order(system: System, order: int) -> int:
    """Return how many states of a real system `order` stored states can stand for."""
    return 2 * order if isinstance(system, DiagonalStateSpace) and system.conjugate_pairs else order
