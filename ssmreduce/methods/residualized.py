"""Balanced residualization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import METHODS, Method, Source, require_feedthrough, shared, system_of
from theory.errors import InputError
from theory.reduction.at_rest import at_rest
from theory.reduction.balancing import Truncation
from theory.reduction.residualization import Feedthrough, residualized


@dataclass(frozen=True, kw_only=True)
class Residualized(Method):
    """Holds what balanced truncation drops at its equilibrium, so that the gain at rest (z = 1, s = 0) is exact.

    :func:`theory.reduction.residualization.residualized`. Exact where all of D may be written: for systems, and for
    layers whose D is a number a channel. ``"residualized(start='modal')"`` does that to what a selection drops, or
    any other method that keeps D: :func:`theory.reduction.at_rest.at_rest`.

    Attributes
    ----------
    feedthrough : {"writable", "dense", "diagonal", "kept"}
        What may change of ``D``. "writable": all of it, in a layer its diagonal, which is all that layers store (in a
        layer whose code base has no D, nothing).
    condition_limit : float
        Largest eigenvector condition number that the way back to a diagonal system accepts.
    start : str
        The method whose rest is residualized; one that needs no data. Other than "balanced", only D changes.
    """

    feedthrough: Literal["writable", "dense", "diagonal", "kept"] = "writable"
    condition_limit: float = 1e8
    start: str = "balanced"

    rank = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.condition_limit >= 1:
            raise InputError(f"condition_limit is a condition number, at least 1; got {self.condition_limit:g}")

    @property
    def title(self) -> str:
        """What is residualized."""
        return "balanced residualization" if self._first is None else "residualization"

    @property
    def family(self) -> str:
        """That of the start."""
        return super().family if self._first is None else self._first.family

    @property
    def allocation(self) -> Any:
        """That of the start."""
        return "time_limited" if self._first is None else self._first.allocation

    @property
    def _first(self) -> Method | None:
        """The start; None where the balanced realization itself is residualized."""
        if self.start == "balanced":
            return None
        first = METHODS.find(self.start)
        if first.requires or not first.keeps_feedthrough or self.feedthrough == "kept":
            raise InputError(
                f"a residualization changes D and starts from a method that needs no data and keeps D; start is "
                f"{self.start!r}, feedthrough {self.feedthrough!r}"
            )
        return first

    @property
    def guarantee(self) -> str:
        """The bound, and what is met at rest."""
        if self._first is not None:
            return "exact at rest up to what D cannot store; error at most twice the sum of its Hankel singular values"
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
        """Refuse a dense feedthrough where only a diagonal can be stored, and what the start refuses."""
        if self._first is not None:
            self._first.applies(source)
        if self.feedthrough in ("dense", "diagonal") and isinstance(source, SSMLayer):
            require_feedthrough(source, self.name, "feedthrough='writable', which keeps it")
        if self.feedthrough == "dense" and isinstance(source, SSMLayer) and system_of(source).m > 1:
            raise InputError(
                f"the method {self.name!r} needs a system: a layer stores the diagonal of D; take "
                "feedthrough='diagonal', or reduce layer.system"
            )

    def truncate(self, source: Source, order: int) -> Truncation:
        """Residualize to `order` stored states."""
        system = system_of(source)
        wanted: Feedthrough = "dense"
        if isinstance(source, SSMLayer):
            wanted = "diagonal" if source.format.feeds_through else "kept"
        if self.feedthrough != "writable":
            wanted = self.feedthrough
        if self._first is not None:
            data = {"seed": 0} if "seed" in self._first.takes else {}
            return at_rest(system, self._first.truncate(source, order, **data), wanted)
        return residualized(
            system, order, feedthrough=wanted, balancing=shared(system), condition_limit=self.condition_limit
        )


METHODS.register("residualized", Residualized())
