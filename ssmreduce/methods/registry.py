"""What a reduction method is: a value, and its name in :data:`METHODS`. A new one is one file in this folder."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.named import Named, Registry
from theory.errors import AccuracyError, InputError, OrderError, StabilityError, ToleranceError
from theory.gramians.hankel import causal_hankel_singular_values
from theory.reduction.balancing import Balancing, Truncation, balance, real_order
from theory.reduction.bounds import hankel_floor
from theory.systems.system import System

if TYPE_CHECKING:
    from ssmreduce.methods.allocation import Allocation

Source = SSMLayer | System

FAMILIES = ("balancing", "descent", "selection", "recorded", "baseline")
"""Kinds of methods: projections from Gramians and their relatives; local searches from there; criteria that keep stored
poles; methods that need recorded inputs; and criteria that do not look at what a state does."""


@dataclass(frozen=True, kw_only=True)
class Method(Named, ABC):
    """One way to reduce: a frozen value whose fields are its parameters.

    A subclass says ``title``, writes :meth:`truncate`, and is registered in the last line of its file. The first
    paragraph of its docstring is the summary that tables show.

    Attributes
    ----------
    name : str
        What rows, JSON and files say; :data:`METHODS` reads it back.
    title, summary, guarantee : str
        Heading, one sentence, and what is known of the result beforehand.
    kind : {"projection", "selection"}
        "projection" makes new states; "selection" keeps some of the stored ones.
    allocation : str or Allocation
        How :func:`ssmreduce.reduce_model` spreads the states over layers for this method, unless told otherwise.
    takes, requires : tuple of str
        What a call may, and must, bring along besides the layer: ``("seed",)``, ``("inputs",)``. Such keywords of
        :func:`ssmreduce.reduce` and :func:`ssmreduce.compare` come to :meth:`truncate` as they are. A parameter
        without a default is required, too, as long as the value has none: :func:`ssmreduce.compare` leaves it out.
    baseline : bool
        Whether it is there to be beaten: a criterion that does not look at what a state does.
    keeps_feedthrough : bool
        Whether ``D`` stays. The floor of a method that changes it is that of the strictly causal part.
    searches : bool
        Whether it takes seconds rather than milliseconds; then :func:`ssmreduce.compare` runs it only if asked.
    """

    kind: ClassVar[Literal["projection", "selection"]] = "projection"
    takes: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()
    keeps_feedthrough: ClassVar[bool] = True
    searches: ClassVar[bool] = False
    baseline: ClassVar[bool] = False

    @property
    @abstractmethod
    def title(self) -> str:
        """Heading: the name for people."""

    @property
    def family(self) -> str:
        """Kind, in the field's terms, for tables and figures: :data:`FAMILIES`."""
        if "inputs" in self.requires:
            return "recorded"
        if self.baseline:
            return "baseline"
        if self.searches:
            return "descent"
        return "selection" if self.kind == "selection" else "balancing"

    @property
    def guarantee(self) -> str:
        """What is known of the result beforehand, in one phrase; empty if nothing is."""
        return ""

    @property
    def allocation(self) -> str | Allocation:
        """Default allocation of a model's budget."""
        return "uniform"

    def applies(self, source: Source) -> None:
        """Refuse, with the reason, a layer or system that this method is not made for.

        Raises
        ------
        InputError
        """

    @abstractmethod
    def truncate(self, source: Source, order: int, *_: Any, **data: Any) -> Truncation:
        """Reduce to at most `order` states, a whole number from 0 to n."""

    def smallest(self, source: Source, rtol: float, *_: Any, **data: Any) -> Truncation:
        """Reduce to the fewest states, at least one, whose bound is at most `rtol` sigma_1, in every channel.

        Tries one order after the other, from the first whose floor allows it; a method that knows a shorter way
        overrides it.
        """
        system = system_of(source)
        for order in range(max(1, least_order(system, rtol * largest(shared(system).hsv))), system.n):
            try:
                found = self.truncate(source, order, **data)
            except (OrderError, AccuracyError, StabilityError):
                continue
            if found.order and np.all(found.bound <= rtol * largest(found.hsv)):
                return found
        return self.truncate(source, system.n, **data)

    def reduce(self, source: Source, *, order: int | None = None, rtol: float | None = None, **data: Any) -> Truncation:
        """Reduce a layer's system: what :func:`ssmreduce.reduce` does before it writes the layer.

        Parameters
        ----------
        source : SSMLayer, StateSpace or DiagonalStateSpace
        order : int, optional, keyword only
            States to keep at most, ``0 <= order <= n``.
        rtol : float, optional, keyword only
            Instead of `order`: the fewest states, at least one, whose bound is at most `rtol` times the largest
            Hankel singular value.
        **data
            What the method :attr:`takes`.

        Raises
        ------
        InputError
            The method does not apply, or needs data that is not there.
        OrderError, ToleranceError, StabilityError, AccuracyError
        """
        if (order is None) == (rtol is None):
            raise InputError(
                "give either order (states to keep) or rtol (bound relative to the largest Hankel singular value)"
            )
        self.applies(source)
        for name in self.requires:
            if data.get(name) is None:
                raise InputError(f"the method {self.name!r} needs {name}: pass {name}=...")
        for name in data:
            if name not in self.takes:
                raise InputError(f"the method {self.name!r} takes no {name}")
        if order is not None:
            return self.truncate(source, checked_order(order, system_of(source).n), **data)
        if rtol is None or not (rtol >= 0 and math.isfinite(rtol)):
            raise ToleranceError(
                f"rtol must be a finite number >= 0, got {rtol}", float("nan") if rtol is None else rtol, 0.0
            )
        return self.smallest(source, float(rtol), **data)


METHODS: Registry[Method] = Registry("method", Method, "ssmreduce.methods")
"""The methods by name: whatever the files of this folder register, projections first."""


def system_of(source: Source) -> System:
    """Return the linear system of a layer, or the system itself."""
    return source.system if isinstance(source, SSMLayer) else source


@lru_cache(maxsize=8)  # the layers of a model: their budget is spread first, then they are reduced
def require_feedthrough(layer: SSMLayer, method: str, instead: str) -> None:
    """Refuse a layer whose code base has no D, for a method that fits one."""
    if not layer.format.feeds_through:
        raise InputError(
            f"the method {method!r} changes D, and a layer of {layer.format.title} has none; take {instead}, or reduce "
            "layer.system, whose result is a system"
        )


def shared(system: System) -> Balancing:
    """Return what all methods and orders of one system share: Hankel singular values, and the balancing factors."""
    return balance(system)


@lru_cache(maxsize=8)
def _floors(system: System) -> Any:
    """Hankel singular values that bound the error from below whether or not ``D`` is kept, (..., N)."""
    return np.minimum(shared(system).floor_hsv, causal_hankel_singular_values(system))


def least_order(system: System, goal: Any) -> int:
    """Return the smallest order whose floor, whether or not ``D`` is kept, is at most `goal`, one for each channel.

    No smaller order can have a bound of at most `goal`.
    """
    hsv, n = _floors(system), int(system.n)
    return next((order for order in range(n) if np.all(hankel_floor(hsv, real_order(system, order)) <= goal)), n)


def largest(hsv: Any) -> Any:
    """Return the largest Hankel singular value of every channel, (...); 0 where there are no states."""
    return hsv[..., 0] if hsv.shape[-1] else np.zeros(hsv.shape[:-1])


def checked_order(order: Any, n: int) -> int:
    """Accept a whole number from 0 to `n`."""
    if isinstance(order, (bool, np.bool_)) or not isinstance(order, (int, np.integer)):
        raise InputError(f"order must be a whole number, got {order!r}")
    if not 0 <= order <= n:
        raise OrderError(f"order must be between 0 and {n} (stored states), got {order}", int(order), n)
    return int(order)
