"""Balanced residualization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import METHODS, Method, Source, shared, system_of
from theory.errors import InputError
from theory.reduction.balancing import Truncation
from theory.reduction.residualization import Feedthrough, residualized


@dataclass(frozen=True, kw_only=True)
class Residualized(Method):
    """Holds what balanced truncation drops at its equilibrium, so that the gain at rest (z = 1, s = 0) is exact.

    :func:`theory.reduction.residualization.residualized`. Exact where all of D may be written: for systems, and for
    layers whose D is a number a channel.

    Attributes
    ----------
    feedthrough : {"writable", "dense", "diagonal", "kept"}
        What may change of ``D``. "writable": all of it, in a layer its diagonal, which is all that layers store.
    condition_limit : float
        Largest eigenvector condition number that the way back to a diagonal system accepts.
    """

    feedthrough: Literal["writable", "dense", "diagonal", "kept"] = "writable"
    condition_limit: float = 1e8

    title = "balanced residualization"
    allocation = "time_limited"
    rank = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.condition_limit >= 1:
            raise InputError(f"condition_limit is a condition number, at least 1; got {self.condition_limit:g}")

    @property
    def guarantee(self) -> str:
        """The bound, and what is met at rest."""
        if self.feedthrough in ("writable", "dense"):
            return (
                "exact at rest, error at most twice the sum of the residualized Hankel singular values; both up to "
                "what a layer's D cannot store, which is added to the bound"
            )
        return (
            "error at most twice the sum of the residualized Hankel singular values, plus what D would have to change"
        )

    @property
    def keeps_feedthrough(self) -> bool:  # type: ignore[override]
        """Only if asked."""
        return self.feedthrough == "kept"

    def applies(self, source: Source) -> None:
        """Refuse a dense feedthrough where only a diagonal can be stored."""
        if self.feedthrough == "dense" and isinstance(source, SSMLayer) and system_of(source).m > 1:
            raise InputError(
                f"the method {self.name!r} needs a system: a layer stores the diagonal of D; take "
                "feedthrough='diagonal', or reduce layer.system"
            )

    def truncate(self, source: Source, order: int) -> Truncation:
        """Residualize to `order` stored states."""
        system = system_of(source)
        wanted: Feedthrough = "diagonal" if isinstance(source, SSMLayer) else "dense"
        if self.feedthrough != "writable":
            wanted = self.feedthrough
        return residualized(
            system, order, feedthrough=wanted, balancing=shared(system), condition_limit=self.condition_limit
        )


METHODS.register("residualized", Residualized())
