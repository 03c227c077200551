"""The smallest order that is good enough: by certified errors, one order after the other; by Hankel singular values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ssmreduce.reduction import Reduction
from ssmreduce.view.text import outward
from theory.errors import AccuracyError, ConvergenceError, InputError, OrderError, StabilityError, ToleranceError
from theory.norms.attained import attained_error
from theory.norms.bracket import Bracket
from theory.reduction.balancing import real_order
from theory.systems.system import System

Array = NDArray[Any]

UNREACHED = (OrderError, AccuracyError, ConvergenceError, StabilityError)
"""What a search takes for "not at this order" instead of stopping."""


class Certifying(Protocol):
    """What certifies errors of one system, each once: :class:`ssmreduce.Analysis`."""

    @property
    def system(self) -> System:
        """The linear system."""

    @property
    def rtol(self) -> float:
        """Relative width that brackets aim for."""

    def error(self, reduction: Reduction) -> Bracket:
        """Certified error of a reduction."""

    def least_order(self, tolerance: float) -> int:
        """The smallest order whose floor allows a tolerance."""


def smallest_within(
    analysis: Certifying, goal: float, scale: float | None, at: Callable[[int], Reduction]
) -> Reduction:
    """Return the reduction of the smallest order whose certified error is at most `goal`, of `scale` if there is one.

    Raises
    ------
    ToleranceError
        No order has one; carries the smallest, and the way on.
    """
    tolerance = goal if scale is None else math.nextafter(goal * scale, 0.0)
    n, best = analysis.system.n, math.inf
    refuted: list[Reduction] = []
    for order in range(analysis.least_order(tolerance), n + 1):
        try:
            found = at(order)
            if attained_error(analysis.system, found.system, analysis.rtol) > tolerance:
                refuted.append(found)
                continue
            upper = float(np.max(analysis.error(found).upper, initial=0.0))
        except UNREACHED:
            continue
        if upper <= tolerance:
            return found
        best = min(best, upper)
    best = min([best, *(float(np.max(analysis.error(found).upper, initial=0.0)) for found in refuted)])
    unit, reached = "", best
    if scale is not None:
        unit, reached = " of the norm", math.nextafter(best / scale, math.inf) if scale > 0 else math.inf
    raise ToleranceError(
        f"no order up to {n} has a certified error of at most {goal:g}{unit}; the smallest is "
        f"{outward(reached, 1)}{unit}: ask for that, for another method, or for parameters in a wider dtype",
        goal,
        reached,
    )


def order_of_energy(system: System, hsv: Array, part: float) -> int:
    """Return the smallest order that keeps this part of the sum of squared Hankel singular values, in every channel.

    Raises
    ------
    InputError
        The part is above 1.
    """
    if part > 1:
        raise InputError(f"energy is a part of the sum of squared Hankel singular values, 0 to 1; got {part}")
    squares = hsv.astype(float) ** 2
    left = np.cumsum(squares[..., ::-1], axis=-1)[..., ::-1]  # what is lost if the first k are kept
    lost = np.concatenate([left, np.zeros((*left.shape[:-1], 1))], axis=-1)
    n = int(system.n)
    for order in range(n):
        if np.all(lost[..., real_order(system, order)] <= (1.0 - part) * lost[..., 0]):
            return order
    return n


def checked(name: str, value: Any) -> float:
    """Accept a finite number that is not negative."""
    if isinstance(value, (bool, str)) or not np.isscalar(value) or not (math.isfinite(value) and value >= 0):  # type: ignore[arg-type, operator]
        raise InputError(f"{name} must be a finite number >= 0, got {value!r}")
    return float(value)  # type: ignore[arg-type]
