"""Another method's poles, with the output matrix that is best in H2 or in H-infinity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import METHODS, Method, Source, require_feedthrough, system_of
from theory.errors import InputError
from theory.norms import error_norm
from theory.reduction.balancing import Truncation, balance, real_order
from theory.reduction.bounds import hankel_floor
from theory.reduction.dense_descent import better_in_hinf, through_modes
from theory.reduction.h2_refit import h2_refit, h2_refit_both
from theory.reduction.hinf_descent import CERTIFIED
from theory.reduction.hinf_refit import HinfRefit, hinf_refit
from theory.reduction.improvement import improved
from theory.reduction.residualization import strictly_causal
from theory.systems.system import DiagonalStateSpace, StateSpace, System

NORMS = {"h2": "H2", "hinf": "H-infinity"}
"""Names of the norms, and how they are written."""


@dataclass(frozen=True, kw_only=True)
class Refit(Method):
    """Keeps the poles and B of another method, and takes the C with the least error: a closed form in H2.

    :func:`theory.reduction.h2_refit.h2_refit`, :func:`theory.reduction.hinf_refit.hinf_refit`.
    ``"refit(start='last')"`` makes more of a selection of stored poles, ``"refit(norm='hinf')"`` solves the convex
    problem in the worst case, and says how near its least value it is; seconds to a minute. A dense system goes through
    its modes there.

    Attributes
    ----------
    start : str
        The method whose poles are kept: one that needs no data.
    norm : str
        "h2" or "hinf".
    both : bool
        In H2, B as well, in turns with C; not for two directions.
    feedthrough : bool
        The diagonal of D as well, which is what layers store of it. In H2 that gains something where the present sample
        is seen (``delay=0``: S5 and S4D), and nothing elsewhere.
    """

    start: str = "balanced"
    norm: str = "h2"
    both: bool = False
    feedthrough: bool = False

    rank = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in NORMS:
            raise InputError(f"norm must be one of {', '.join(map(repr, NORMS))}, got {self.norm!r}")
        if self.both and self.norm != "h2":
            raise InputError("B is refitted in H2 only: norm='h2'")
        if self.both and self.feedthrough:
            raise InputError("B and D are not refitted together: both=False, or feedthrough=False")

    @property
    def title(self) -> str:
        """With the norm."""
        what = "input and output" if self.both else "output and feedthrough" if self.feedthrough else "the output"
        return f"{NORMS[self.norm]} refit of {what}"

    @property
    def keeps_feedthrough(self) -> bool:  # type: ignore[override]
        """Unless asked."""
        return not self.feedthrough

    @property
    def searches(self) -> bool:  # type: ignore[override]
        """Whether it takes its time."""
        return self.norm == "hinf"

    @property
    def guarantee(self) -> str:
        """Never worse than the start."""
        if self.norm == "hinf":
            return (
                f"error certified, never more than that of {self.start} (before rounding of what is stored), with its "
                "distance from the least for these poles"
            )
        if self.both:
            return (
                f"H2 error never more than that of {self.start}; error at most twice the sum of the Hankel singular "
                "values of the error"
            )
        return (
            f"H2 error the least with these poles and B, so never more than that of {self.start}; error at most twice "
            "the sum of the Hankel singular values of the error"
        )

    @property
    def family(self) -> str:
        """That of the start."""
        return self._first().family

    @property
    def allocation(self) -> Any:
        """That of the start."""
        return self._first().allocation

    def applies(self, source: Source) -> None:
        """Whatever its start does."""
        self._first().applies(source)
        system = system_of(source)
        if self.feedthrough and isinstance(source, SSMLayer):
            require_feedthrough(source, self.name, "feedthrough=False")
        if self.feedthrough and system.p != system.m:
            raise InputError(f"D has no diagonal to fit: {system.p} outputs of {system.m} inputs; feedthrough=False")
        if self.feedthrough and (isinstance(system, StateSpace) or (self.norm == "h2" and not system.is_discrete)):
            raise InputError(
                "the diagonal of D is refitted of diagonal systems, in H2 in discrete time: in continuous time the H2 "
                "error is infinite with any other D"
            )
        if self.both and isinstance(system, DiagonalStateSpace) and system.is_bidirectional:
            raise InputError("B of two directions is shared, and is not refitted: both=False")

    def truncate(self, source: Source, order: int) -> Truncation:
        """Reduce by the start, then fit C, and what else is to be fitted."""
        first = self._first()
        data = {"seed": 0} if "seed" in first.takes else {}
        start, system = first.truncate(source, order, **data), system_of(source)
        if start.order == system.n or not (start.order or self.feedthrough):
            return start
        if self.feedthrough:
            assert isinstance(system, DiagonalStateSpace)
            values = balance(strictly_causal(system)).floor_hsv
            start = replace(start, floor=hankel_floor(values, real_order(system, start.system.n)))
        if self.norm == "hinf":
            return _hinf(start, system, self.feedthrough)
        if self.both:
            reduced = h2_refit_both(system, start.system)
        else:
            reduced = h2_refit(system, start.system, feedthrough=self.feedthrough)
        what = "B and C" if self.both else "C and D" if self.feedthrough else "C"
        return improved(start, system, reduced, f"{start.status}, {what} refitted in H2")

    def _first(self) -> Method:
        first = METHODS.find(self.start)
        if first.requires or not first.keeps_feedthrough or isinstance(first, Refit):
            raise InputError(f"a refit starts from a method that needs no data and keeps D, not from {self.start!r}")
        return first


def _hinf(start: Truncation, system: System, feedthrough: bool) -> Truncation:
    """The convex refit of a truncation, with the gap in its status and diagnostics."""
    if isinstance(system, StateSpace):
        found = _through_modes(system, start.system)
    else:
        assert isinstance(start.system, DiagonalStateSpace)
        found = hinf_refit(system, start.system, error_norm, feedthrough=feedthrough)
    gap = float(np.max(found.gap))
    told = f"at most {gap:.2g} above the least with these poles" if np.isfinite(gap) else "the least is not known"
    status = f"{start.status}, {'C and D' if feedthrough else 'C'} refitted in H-infinity: {told}"
    diagnostics = {key: value for key, value in start.diagnostics.items() if key != "kept"}
    return replace(
        start, system=found.system, bound=found.upper, status=status, kept=None,
        diagnostics=diagnostics | {"least_error": found.lower, "gap": gap},
    )  # fmt: skip


def _through_modes(system: StateSpace, start: System) -> HinfRefit:
    """The refit of a dense system; its errors are those of the dense systems."""
    assert isinstance(start, StateSpace)
    least = 0.0

    def fit(modes: DiagonalStateSpace, small: DiagonalStateSpace) -> DiagonalStateSpace:
        nonlocal least
        found = hinf_refit(modes, small, error_norm)
        least = float(found.lower)
        assert isinstance(found.system, DiagonalStateSpace)
        return found.system

    reduced = through_modes(system, start, fit)
    if reduced is not start:
        better, upper = better_in_hinf(system, reduced, start, error_norm)
        if better:
            return HinfRefit(system=reduced, upper=upper, lower=least)
    return HinfRefit(system=start, upper=float(error_norm(system, start, CERTIFIED).upper), lower=least)


METHODS.register("refit", Refit())
