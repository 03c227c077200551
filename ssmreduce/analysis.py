"""Analyse a layer once, cut it many times: ``analyze``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ssmreduce.curves import gain_picture, hankel_picture, pole_picture, title_of
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import as_layer_or_system
from ssmreduce.methods.registry import METHODS, Method, Source, least_order, shared, system_of
from ssmreduce.reduction import Reduction, reduce
from ssmreduce.results import worst
from ssmreduce.smallest import UNREACHED, checked, order_of_energy, smallest_within
from ssmreduce.view.analysis_plot import Loss, LossPicture, Picture, drawn
from theory.errors import InputError
from theory.norms import error_norm, hinf_norm
from theory.norms.bracket import Bracket
from theory.systems.system import System

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]

MOST_ORDERS = 8
"""Orders of a loss picture, unless they are given."""


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Analysis:
    r"""One layer or system, with what all its reductions share, each computed when it is first asked for.

    Attributes
    ----------
    source : SSMLayer, StateSpace or DiagonalStateSpace
        What is analysed.
    methods : tuple of Method
        What the picture "loss" draws; the first is what :meth:`reduce` uses unless told otherwise.
    rtol : float
        Relative width that the brackets of norms and errors aim for.
    """

    source: Source
    methods: tuple[Method, ...]
    rtol: float = 1e-3
    _kept: dict[Any, Any] = field(default_factory=dict, init=False)

    @property
    def system(self) -> System:
        """The linear system, (A, B, C, D)."""
        return system_of(self.source)

    @property
    def layer(self) -> SSMLayer | None:
        """The layer, if one came in."""
        return self.source if isinstance(self.source, SSMLayer) else None

    @property
    def hsv(self) -> Array:
        """Hankel singular values, (..., N), descending; of the real system for conjugate pairs, N = 2n."""
        return shared(self.system).hsv

    @cached_property
    def norm(self) -> Bracket:
        """Certified norm of the system, feedthrough included; of S4D one for each channel."""
        return hinf_norm(self.system, rtol=self.rtol)

    def error(self, reduction: Reduction) -> Bracket:
        """Certify the error of a reduction of this system: as ``reduction.error(rtol)``, but once."""
        key = ("error", id(reduction))
        if key not in self._kept:
            self._kept[key] = (error_norm(self.system, reduction.system, rtol=self.rtol), reduction)
        bracket: Bracket = self._kept[key][0]
        return bracket

    def reduce(
        self,
        order: int | Iterable[int] | None = None,
        *,
        error: float | Iterable[float] | None = None,
        relative_error: float | Iterable[float] | None = None,
        energy: float | Iterable[float] | None = None,
        method: str | Method | None = None,
        dtype: DTypeLike | None = None,
        **data: Any,
    ) -> Reduction | tuple[Reduction, ...]:
        r"""Reduce to an order, or to the smallest order that is good enough; give exactly one of the first four.

        Parameters
        ----------
        order : int
            Stored states to keep at most, as :func:`ssmreduce.reduce`.
        error : float, keyword only
            The smallest order whose *certified* error is at most this: of the order that is returned the upper end of
            :meth:`error` meets it; of every smaller order it does not, or the floor proves that none can, or the
            method does not deliver that order. The error itself may meet the tolerance at a smaller order if it lies
            within `rtol` of it. Of S4D, in every channel. Order 0, the feedthrough alone, counts.
        relative_error : float, keyword only
            The same for `relative_error` times ``norm.lower``, so that the error over the norm is at most this; of
            S4D over the largest norm of the channels.
        energy : float, keyword only
            The smallest order r that keeps this part, 0 to 1, of :math:`\sum\sigma_i^2`, in every channel:
            :math:`\sum_{i\le k}\sigma_i^2\ge\text{energy}\sum_i\sigma_i^2` with k the real states of r stored ones
            (2r for conjugate pairs). Hankel values are float64 numbers; no error is promised.
        method : str or Method, keyword only
            By default the first of :attr:`methods`.
        dtype, **data, keyword only
            As for :func:`ssmreduce.reduce`: ``seed``, and what the method takes.

        Returns
        -------
        Reduction
            For a list of orders, tolerances or parts a tuple, in that order.

        Raises
        ------
        OrderError
            As :func:`ssmreduce.reduce`.
        ToleranceError
            The method meets the tolerance at no order; carries the smallest certified error, absolute or relative as
            asked.
        InputError

        Notes
        -----
        Errors need not fall with the order, so there is no bisection: from the smallest order whose floor
        :math:`\sigma_{r+1}` allows the tolerance, one order after the other is reduced, and certified unless a gain
        that its error attains refutes it.
        """
        goals = {"order": order, "error": error, "relative_error": relative_error, "energy": energy}
        given = {name: goal for name, goal in goals.items() if goal is not None}
        if len(given) != 1:
            raise InputError(f"give exactly one of {', '.join(goals)}; got {', '.join(given) or 'none'}")
        ((name, goal),) = given.items()
        chosen = self.methods[0] if method is None else METHODS.find(method)
        tries: dict[int, Reduction] = {}

        def at(order: Any) -> Reduction:
            return self._at(order, chosen, dtype, data, tries)

        finders: dict[str, Callable[[Any], Reduction]] = {
            "order": at,
            "error": lambda value: smallest_within(self, checked(name, value), None, at),
            "relative_error": lambda value: smallest_within(self, checked(name, value), self._scale, at),
            "energy": lambda value: at(order_of_energy(self.system, self.hsv, checked(name, value))),
        }
        find = finders[name]
        if np.ndim(goal):  # type: ignore[arg-type]
            return tuple(find(value) for value in goal)  # type: ignore[union-attr]
        return find(goal)

    def plot(
        self,
        kind: Literal["hsv", "sigma", "poles", "loss"],
        ax: Axes | None = None,
        *,
        reduction: Reduction | None = None,
        orders: Iterable[int] | None = None,
        **data: Any,
    ) -> Axes:
        """Draw one picture into `ax`, or into a figure of its own (``axes.figure``).

        Parameters
        ----------
        kind : {"hsv", "sigma", "poles", "loss"}
            "hsv": Hankel singular values, with the floor and the bound of balanced truncation above every order.
            "sigma": largest singular value of the frequency response, the certified peak marked; with `reduction` also
            of that and of the error. Of S4D one channel: that of the largest error, or norm. "poles": angle and
            stability margin, with those of `reduction`. "loss": certified error, bound and floor of :attr:`methods`
            over the order.
        ax : Axes, optional
        reduction : Reduction, optional, keyword only
            One of this system, for "sigma" and "poles".
        orders : iterable of int, optional, keyword only
            For "loss"; by default up to eight below n.
        **data
            For "loss": what the methods take.

        Raises
        ------
        InputError
            An unknown kind.
        MissingDependencyError
            Matplotlib is not installed.
        """
        pictures: dict[str, Callable[[], Picture]] = {
            "hsv": lambda: hankel_picture(self.source),
            "sigma": lambda: gain_picture(
                self.source, self.norm, reduction, None if reduction is None else self.error(reduction)
            ),
            "poles": lambda: pole_picture(self.source, reduction),
            "loss": lambda: LossPicture(name=title_of(self.source), losses=self._losses(orders, data)),
        }
        if kind not in pictures:
            raise InputError(f"kind must be one of {', '.join(pictures)}, got {kind!r}")
        return drawn(pictures[kind](), ax)

    def __repr__(self) -> str:
        return f"Analysis({title_of(self.source)}, {', '.join(method.name for method in self.methods)})"

    # --- how ---------------------------------------------------------------------------------------------------------

    @property
    def _scale(self) -> float:
        """What a relative error is relative to: the proved lower end of the norm, of a batch as one system."""
        return float(worst(self.norm).lower)

    def _at(
        self, order: Any, method: Method, dtype: Any, data: dict[str, Any], tries: dict[Any, Reduction]
    ) -> Reduction:
        """The reduction to one order; remembered beyond this call unless arrays went in, which may change."""
        plain = all(isinstance(value, (int, float, str, type(None))) for value in data.values())
        memory: dict[Any, Reduction] = self._kept if plain else tries
        precision = None if dtype is None else np.dtype(dtype)
        key = (method, type(order), order, precision, *sorted(data.items())) if plain else order
        if key not in memory:
            memory[key] = reduce(self.source, order, method=method, dtype=dtype, **data)
        return memory[key]

    def least_order(self, tolerance: float) -> int:
        """Return the smallest order whose floor, whether or not ``D`` is kept, is at most an absolute tolerance."""
        return least_order(self.system, tolerance)

    def _losses(self, orders: Iterable[int] | None, data: dict[str, Any]) -> dict[str, Loss]:
        n = self.system.n
        if orders is None:
            orders = np.unique(np.linspace(1, n - 1, MOST_ORDERS).round().astype(int)).tolist() if n > 1 else [0]
        listed = list(orders)
        losses = {}
        for method in self.methods:
            own = {key: value for key, value in data.items() if key in method.takes}
            rows = []
            for order in listed:
                try:
                    found = self._at(order, method, None, own, {})
                    error = worst(self.error(found))
                except UNREACHED:
                    continue
                rows.append((order, error.lower, error.upper, np.max(found.bound), np.max(found.floor)))
            table = np.array(rows, dtype=float).reshape(-1, 5).T
            losses[method.name] = Loss(
                orders=table[0].astype(int), lower=table[1], upper=table[2], bound=table[3], floor=table[4]
            )
        return losses


def analyze(
    layer_or_system: Any,
    methods: str | Method | Sequence[str | Method] = ("balanced",),
    *,
    rtol: float = 1e-3,
    **options: Any,
) -> Analysis:
    r"""Analyse a layer or system once, to reduce it many times.

    .. math:: \text{floor}\le\|G-G_r\|_\infty\le\text{tolerance},\quad r\text{ the smallest order that is certified}

    Parameters
    ----------
    layer_or_system : object
        As for :func:`ssmreduce.reduce`.
    methods : str, Method, or sequence of them
        What ``.plot("loss")`` draws; the first is the default of ``.reduce``.
    rtol : float, keyword only
        Relative width that certified norms and errors aim for.
    **options
        For a mapping of parameters: ``conj_sym`` and so on.

    Returns
    -------
    Analysis
        ``.reduce(order= | error= | relative_error= | energy=)``, ``.plot("hsv" | "sigma" | "poles" | "loss")``,
        ``.hsv``, ``.norm``, ``.error(reduction)``.

    Raises
    ------
    StabilityError
        A pole lies on or outside the stability boundary.
    InputError
        Neither a layer nor a system, or an unknown method.

    Examples
    --------
    >>> import ssmreduce
    >>> two = ssmreduce.StateSpace([[0.9, 0], [0, 0.1]], [[1], [1]], [[1, 0.01]], dt=1.0)
    >>> analysis = ssmreduce.analyze(two)
    >>> analysis.reduce(relative_error=0.01).order
    1
    """
    listed = [methods] if isinstance(methods, (str, Method)) else list(methods)
    if not listed:
        raise InputError(f"no method was named; the methods are {', '.join(METHODS)}")
    checked("rtol", rtol)
    source = as_layer_or_system(layer_or_system, **options)
    if isinstance(source, SSMLayer):
        source.require_stable()
    analysis = Analysis(source=source, methods=tuple(map(METHODS.find, listed)), rtol=float(rtol))
    shared(analysis.system)  # unstable systems are refused here
    return analysis
