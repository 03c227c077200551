"""Reduction in H2."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from ssmreduce.methods.registry import METHODS, Method, Source, shared, system_of
from ssmreduce.methods.scores import aire_scores
from theory.errors import InputError
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.balancing import Remark, Truncation
from theory.reduction.dense_descent import better_in_h2 as dense_is_better
from theory.reduction.dense_descent import through_modes
from theory.reduction.dense_modes import leading_modes, realized
from theory.reduction.dense_pairs import modes_of
from theory.reduction.h2_descent import better_in_h2, h2_descent
from theory.reduction.improvement import improved
from theory.systems.system import DiagonalStateSpace, StateSpace, System


@dataclass(frozen=True, kw_only=True)
class Descent(Method):
    """Starts from balanced truncation and moves poles, B and C downhill; a dense system goes through its modes.

    Attributes
    ----------
    steps : int
        At most: of the minimizer, in every channel.
    """

    steps: int = 200

    allocation = "time_limited"
    rank = 2
    searches = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise InputError(f"steps is a number of steps, at least 1; got {self.steps}")

    def truncate(self, source: Source, order: int) -> Truncation:
        """Descend from balanced truncation to `order` stored states; what was found before is not searched again."""
        return _found(self, system_of(source), order)

    def descended(self, system: DiagonalStateSpace, start: Truncation) -> Truncation:
        """The descent itself."""
        raise NotImplementedError

    def descended_dense(self, system: StateSpace, start: Truncation) -> Truncation:
        """The descent through the modes of a dense system."""
        raise NotImplementedError


@lru_cache(maxsize=256)  # tolerances ask for one order after the other, and reduce for the same ones again
def _found(method: Descent, system: System, order: int) -> Truncation:
    start = balanced_truncation(system, order, balancing=shared(system))
    if start.order in (0, system.n):
        return start
    if isinstance(system, StateSpace):
        return method.descended_dense(system, start)
    return method.descended(system, start)


def not_improved(start: Truncation) -> Truncation:
    """The start of a descent that found nothing certainly better, which says so."""
    status = f"{start.status}; the descent found nothing certainly better"
    return replace(start, status=status, remarks=(*start.remarks, Remark.NOT_IMPROVED))


@dataclass(frozen=True, kw_only=True)
class H2(Descent):
    """Least energy of the error that descents from balanced truncation and from the strongest modes find.

    :func:`theory.reduction.h2_descent.h2_descent`. The modes are those that "aire" keeps, by the energy of their
    impulse response: on trained layers nearer in H2 than balanced truncation.
    """

    title = "H2 descent"
    guarantee = (
        "H2 error never more than that of balanced truncation or of aire (before rounding of what is stored; of a "
        "dense system, where aire has as many states); error at most twice the sum of the Hankel singular values of "
        "the error (certified, of a dense system)"
    )

    def descended(self, system: DiagonalStateSpace, start: Truncation) -> Truncation:
        """Descend on the energy."""
        assert isinstance(start.system, DiagonalStateSpace)
        reduced = h2_descent(system, start.system, steps=self.steps)
        modes = METHODS.find("aire").truncate(system, start.system.n).system
        assert isinstance(modes, DiagonalStateSpace)
        reduced = better_in_h2(system, h2_descent(system, modes, steps=self.steps), reduced)
        if reduced is start.system:
            return not_improved(start)
        return improved(start, system, reduced, f"H2 descent from {start.status}")

    def descended_dense(self, system: StateSpace, start: Truncation) -> Truncation:
        """Descend on the energy; what is compared are the norms of the dense systems."""
        first = best = start.system
        assert isinstance(first, StateSpace)
        assert isinstance(best, StateSpace)

        def descend(modes: DiagonalStateSpace, small: DiagonalStateSpace) -> DiagonalStateSpace:
            return h2_descent(modes, small, steps=self.steps, stay_real=True)

        for origin in (first, strongest_modes(system, first.n)):
            if origin.n < first.n:  # pairs alone do not fill an odd order
                continue
            for found in (origin, through_modes(system, origin, descend)):
                best = found if found is not best and dense_is_better(system, found, best) else best
        if best is first:
            return not_improved(start)
        return improved(start, system, best, f"H2 descent through the modes from {start.status}")


def strongest_modes(system: StateSpace, order: int) -> StateSpace:
    """What "aire" keeps of a dense system, without its bound."""
    modes = modes_of(system).system
    return realized(modes, leading_modes(modes, aire_scores(modes), order))


METHODS.register("h2", H2())
