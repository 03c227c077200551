"""How many states a layer needs: where the certified error of a method falls below a tolerance, found by bisection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssmreduce.analysis import Analysis
from ssmreduce.results import worst
from ssmreduce.smallest import UNREACHED
from theory.norms.attained import attained_error


@dataclass(frozen=True, kw_only=True)
class Crossing:
    r"""The order at which the certified error of a layer falls below a part of its norm.

    Attributes
    ----------
    tolerance : float
        The part of the norm.
    order : int
        Stored states. The error at this order is proved to be at most the tolerance; that at the order below it is
        proved to be more, or could not be proved to be less.
    error : float
        What is proved of the error at `order`, as a part of the norm, rounded up.
    proof : {"bound", "certified", "nothing removed"}
        The a-priori bound of the method, or the certified norm of the error.
    """

    tolerance: float
    order: int
    error: float
    proof: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Crossings:
    """The orders that were looked at, and what is known of each; all tolerances share them.

    Attributes
    ----------
    analysis : Analysis
        The layer; its first method cuts it.
    """

    analysis: Analysis
    _attained: dict[int, float] = field(default_factory=dict, init=False)
    _proved: dict[int, tuple[float, str]] = field(default_factory=dict, init=False)
    _final: set[int] = field(default_factory=set, init=False)

    def below(self, tolerance: float, progress: Callable[[int], None] = lambda order: None) -> Crossing:
        r"""Return the order at which the certified error falls below `tolerance` times the norm.

        Parameters
        ----------
        tolerance : float
            Of S4D relative to the largest norm of the channels.
        progress : callable, optional
            Called with every order that is looked at.

        Notes
        -----
        Bisection between the largest order whose floor :math:`\sigma_{r+1}` is above the tolerance and n. An order is
        refuted by a gain that its error attains, proved by its bound, and certified only where neither decides. Errors
        need not fall with the order: a smaller order than the one returned may meet the tolerance as well
        (:meth:`ssmreduce.Analysis.reduce` walks all of them).
        """
        n, scale = int(self.analysis.system.n), float(worst(self.analysis.norm).lower)
        goal = math.nextafter(tolerance * scale, 0.0)
        low, high = self.analysis.least_order(goal) - 1, n
        self._proved.setdefault(n, (0.0, "nothing removed"))
        while high - low > 1:
            middle = (low + high) // 2
            progress(middle)
            if self._meets(middle, goal):
                high = middle
            else:
                low = middle
        upper, proof = self._proved[high]
        part = math.nextafter(upper / scale, math.inf) if upper else 0.0
        return Crossing(tolerance=tolerance, order=high, error=part, proof=proof)

    def _meets(self, order: int, goal: float) -> bool:
        """Whether the error at an order is proved to be at most `goal`; a step only where the last decides nothing."""
        if order in self._proved and self._proved[order][0] <= goal:
            return True
        if order in self._final or self._attained.get(order, 0.0) > goal:
            return False
        try:
            found: Any = self.analysis.reduce(order)
        except UNREACHED:
            self._final.add(order)
            return False
        if order not in self._proved:
            bound = float(np.max(found.bound, initial=0.0))
            self._proved[order] = (bound, "bound")
            if bound <= goal:
                return True
            self._attained[order] = attained_error(self.analysis.system, found.system, self.analysis.rtol)
            if self._attained[order] > goal:
                return False
        self._final.add(order)
        upper = float(np.max(self.analysis.error(found).upper, initial=0.0))
        if upper < self._proved[order][0]:
            self._proved[order] = (upper, "certified")
        return self._proved[order][0] <= goal


def crossings(
    analysis: Analysis, tolerances: Sequence[float], progress: Callable[[int], None] = lambda order: None
) -> tuple[Crossing, ...]:
    """Return where the certified error falls below each of the tolerances, relative to the norm."""
    shared = Crossings(analysis=analysis)
    return tuple(shared.below(float(tolerance), progress) for tolerance in tolerances)
