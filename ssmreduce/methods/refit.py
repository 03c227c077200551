"""Another method's poles, with the output matrix that is best in H2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ssmreduce.methods.registry import METHODS, Method, Source, system_of
from theory.errors import InputError
from theory.reduction.balancing import Truncation
from theory.reduction.h2_refit import h2_refit
from theory.reduction.improvement import improved


@dataclass(frozen=True, kw_only=True)
class Refit(Method):
    """Keeps the poles and B of another method, and takes the C with the least H2 error: a closed form.

    :func:`theory.reduction.h2_refit.h2_refit`. ``"refit(start='last')"`` makes more of a selection of stored poles.

    Attributes
    ----------
    start : str
        The method whose poles are kept: one that needs no data.
    """

    start: str = "balanced"

    title = "H2 refit of the output"
    rank = 1

    @property
    def guarantee(self) -> str:
        """Never worse than the start."""
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

    def truncate(self, source: Source, order: int) -> Truncation:
        """Reduce by the start, then fit C."""
        first = self._first()
        data = {"seed": 0} if "seed" in first.takes else {}
        start, system = first.truncate(source, order, **data), system_of(source)
        if start.order == system.n or not start.order:
            return start
        reduced = h2_refit(system, start.system)
        return improved(start, system, reduced, f"{start.status}, C refitted in H2")

    def _first(self) -> Method:
        first = METHODS.find(self.start)
        if first.requires or not first.keeps_feedthrough or isinstance(first, Refit):
            raise InputError(f"a refit starts from a method that needs no data and keeps D, not from {self.start!r}")
        return first


METHODS.register("refit", Refit())
