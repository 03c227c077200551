"""Balanced truncation."""

from __future__ import annotations

from dataclasses import dataclass

from ssmreduce.methods.registry import METHODS, Method, Source, shared, system_of
from theory.errors import InputError
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.balancing import Truncation


@dataclass(frozen=True, kw_only=True)
class Balanced(Method):
    """Keeps the states that are both reached and seen; error at most twice the sum of the truncated hsv.

    :func:`theory.reduction.balanced_truncation.balanced_truncation`.

    Attributes
    ----------
    condition_limit : float
        Largest eigenvector condition number that the way back to a diagonal system accepts.
    """

    condition_limit: float = 1e8

    title = "balanced truncation"
    guarantee = "error at most twice the sum of the truncated Hankel singular values (four times, bidirectional)"
    allocation = "time_limited"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.condition_limit >= 1:
            raise InputError(f"condition_limit is a condition number, at least 1; got {self.condition_limit:g}")

    def truncate(self, source: Source, order: int) -> Truncation:
        """Truncate the balanced realization to `order` stored states."""
        return self._of(source, order=order)

    def smallest(self, source: Source, rtol: float) -> Truncation:
        """Truncate to the smallest order whose bound is at most rtol sigma_1."""
        return self._of(source, rtol=rtol)

    def _of(self, source: Source, order: int | None = None, rtol: float | None = None) -> Truncation:
        system = system_of(source)
        return balanced_truncation(
            system, order=order, rtol=rtol, balancing=shared(system), condition_limit=self.condition_limit
        )


METHODS.register("balanced", Balanced())
