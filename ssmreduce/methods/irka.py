"""The iteration towards H2 optimality that control engineers know, for dense systems."""

from __future__ import annotations

from dataclasses import dataclass

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import METHODS, Method, Source, shared, system_of
from theory.errors import InputError
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.balancing import Truncation
from theory.reduction.improvement import improved
from theory.reduction.two_sided_iteration import two_sided_iteration
from theory.systems.system import StateSpace


@dataclass(frozen=True, kw_only=True)
class Irka(Method):
    """IRKA from balanced truncation, for dense systems; the best iterate, never worse in H2 than the start.

    :func:`theory.reduction.two_sided_iteration.two_sided_iteration`. Whether it converged is told. On trained layers
    it may leave the unit disc at the first step: "h2" is the method for those.

    Attributes
    ----------
    iterations : int
        At most.
    """

    iterations: int = 200

    title = "IRKA"
    guarantee = "H2 error never more than that of balanced truncation; error certified"
    rank = 2
    searches = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations < 1:
            raise InputError(f"iterations is a number of steps, at least 1; got {self.iterations}")

    def applies(self, source: Source) -> None:
        """Dense systems."""
        if isinstance(source, SSMLayer) or not isinstance(source, StateSpace):
            raise InputError(f"the method {self.name!r} needs a dense system; 'h2' is that for stored poles")

    def truncate(self, source: Source, order: int) -> Truncation:
        """Iterate from balanced truncation to `order` states."""
        system = system_of(source)
        start = balanced_truncation(system, order, balancing=shared(system))
        if start.order in (0, system.n):
            return start
        assert isinstance(system, StateSpace)
        assert isinstance(start.system, StateSpace)
        found = two_sided_iteration(system, start.system, iterations=self.iterations)
        how = "converged" if found.converged else "not converged, the best of them"
        return improved(
            start, system, found.system, f"{start.status}, {found.iterations} iterations ({how})",
            iterations=found.iterations, converged=found.converged,
        )  # fmt: skip


METHODS.register("irka", Irka())
