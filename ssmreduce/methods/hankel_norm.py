"""Optimal Hankel-norm approximation."""

from __future__ import annotations

from dataclasses import dataclass

from ssmreduce.methods.registry import METHODS, Method, Source, shared, system_of
from theory.errors import InputError
from theory.reduction.balancing import Truncation
from theory.reduction.hankel_norm import hankel_norm_approximation


@dataclass(frozen=True, kw_only=True)
class HankelNorm(Method):
    """Closest in the Hankel norm, what the past can still do to the future: no system of that order is closer.

    :func:`theory.reduction.hankel_norm.hankel_norm_approximation`, of (poles, B, C) with D kept.

    Attributes
    ----------
    condition_limit : float
        Largest eigenvector condition number that the way back to a diagonal system accepts.
    """

    condition_limit: float = 1e8

    title = "Hankel-norm approximation"
    guarantee = (
        "Hankel norm of the error the least there is, sigma_(k+1), to 1e-8 of sigma_1; error at most twice the sum of "
        "the Hankel singular values of the error"
    )
    allocation = "time_limited"
    rank = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.condition_limit >= 1:
            raise InputError(f"condition_limit is a condition number, at least 1; got {self.condition_limit:g}")

    def truncate(self, source: Source, order: int) -> Truncation:
        """Approximate by `order` stored states."""
        system = system_of(source)
        return hankel_norm_approximation(system, order, balancing=shared(system), condition_limit=self.condition_limit)


METHODS.register("hankel_norm", HankelNorm())
