r"""By what cutting each layer alone does to the outputs of a network that runs."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS, Allocation
from ssmreduce.network import Network
from ssmreduce.recorded.budget import (
    CURVE_EXAMPLES,
    CURVE_POINTS,
    TEMPERATURE,
    Cut,
    divided,
    measured_effects,
)
from ssmreduce.recorded.recording import spread_over
from theory.errors import (
    AccuracyError,
    ConvergenceError,
    InputError,
    OrderError,
    StabilityError,
    ToleranceError,
)

REFUSALS = (AccuracyError, ConvergenceError, OrderError, StabilityError, ToleranceError, np.linalg.LinAlgError)
"""What a method may say of an order instead of delivering it; anything else is a mistake of the call."""


@dataclass(frozen=True, kw_only=True)
class Measured(Allocation):
    r"""The states with which the sum over the layers of the measured effect of cutting each alone is least.

    Minimizes :math:`\sum_l e_l(k_l)` over :math:`\sum_l k_l` = budget, exactly, by dynamic programming;
    :math:`e_l(k)` is how far the outputs of the network are from the whole one's when layer l alone has k states, by
    the method asked for: the divergence of the predictions, or the relative squared error of output signals. It is
    measured at a few orders on some unlabelled examples, and log-linear and never rising between. Not bounded by it:
    what all layers do together, and what other examples see.

    Attributes
    ----------
    points : int
        Orders at which a layer's effect is measured, from 1 to all but one, spread geometrically.
    examples : int
        Examples that it is measured on, evenly spread over the network's.
    temperature : float
        Of logits: at a high one differences count before they change a prediction.
    """

    points: int = CURVE_POINTS
    examples: int = CURVE_EXAMPLES
    temperature: float = TEMPERATURE

    takes = ("network", "cut", "known", "report")
    requires = ("network", "cut")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points < 1 or self.examples < 1:
            raise InputError(f"points and examples are numbers, at least 1; got {self.points} and {self.examples}")
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"the temperature must be positive and finite, got {self.temperature}")

    def spread(
        self,
        layers: Sequence[SSMLayer],
        sizes: Sequence[int],
        budget: int,
        network: Network | None = None,
        cut: Cut | None = None,
        known: MutableMapping[str, float] | None = None,
        report: Callable[[str], None] = lambda text: None,
    ) -> tuple[int, ...]:
        """Measure what `known` does not hold, then divide.

        Parameters
        ----------
        layers, sizes, budget
            As for every allocation; `layers` are those that the network runs.
        network : Network
        cut : callable
            ``cut(index, order)`` is a layer with at most so many states, by the method asked for.
        known : mutable mapping, optional
            Effects that were measured before, by ``"/layer/order"``; new ones are added.
        report : callable
            Told what is measured next.

        Raises
        ------
        InputError
            The network runs other layers.
        OrderError
            The method delivers no division of the budget.
        """
        assert network is not None
        assert cut is not None
        running = [layer.order for layer in network.parts.layers]
        if running != list(sizes):
            raise InputError(f"the network runs layers of {running} states, those to be cut have {list(sizes)}")
        if network.count < 1:
            raise InputError("the network has no examples to measure effects on")
        rows = spread_over(network.count, self.examples)
        refused: dict[int, str] = {}
        curves = measured_effects(
            network, rows, cut, points=self.points, temperature=self.temperature,
            known=known, report=report, refused=refused, refusals=REFUSALS,
        )  # fmt: skip
        return divided(curves, sizes, budget, refused)


ALLOCATIONS.register("measured", Measured())
