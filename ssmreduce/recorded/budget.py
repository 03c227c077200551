r"""One budget of states over all layers, by what reducing each layer does to the logits.

:math:`e_i(r)` is the divergence of the whole model's logits from those of the model in which layer i alone has r
states; the sum over the layers stands for the effect of all of them. Measured at a few orders, log-linear between,
and divided exactly by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.recorded.measures import measure_of
from ssmreduce.recorded.recording import Recording
from ssmreduce.recorded.stages import REFUSALS, refitted_alone, run_logits, truncated
from theory.errors import OrderError

Array = NDArray[Any]

TEMPERATURE = 4.0
"""Of logits when effects are measured: differences count before they change a prediction."""
CURVE_POINTS = 7
"""Orders at which a layer's effect is measured."""
CURVE_EXAMPLES = 100
"""Examples that an effect is measured on: it spans orders of magnitude, and a tenth of it decides nothing."""


def curve_orders(n: int, points: int = CURVE_POINTS) -> tuple[int, ...]:
    """Orders from 1 to n - 1, spread geometrically."""
    if n < 2:
        return ()
    return tuple(sorted({round(float(value)) for value in np.geomspace(1, n - 1, points)}))


def effect_curves(
    recording: Recording,
    kind: str,
    known: MutableMapping[str, float] | None = None,
    report: Callable[[str], None] = lambda text: None,
    refused: MutableMapping[int, str] | None = None,
) -> tuple[tuple[Array, Array], ...]:
    """Orders and effects, (orders, effects), of every layer; an order that cannot be delivered has infinite effect.

    Parameters
    ----------
    recording : Recording
    kind : str
        What stands for observability.
    known : mutable mapping, optional
        Effects that were measured before, ``"kind/layer/order"`` to effect; new ones are added, so that an interrupted
        search goes on where it was.
    report : callable
        Told what is measured next.
    refused : mutable mapping, optional
        Gets, by the number of the layer, why an order could not be delivered.
    """
    known = {} if known is None else known
    few = recording.rows[:CURVE_EXAMPLES]
    whole, curves = recording.whole.logits[: few.size].astype(float), []
    for index, layer in enumerate(recording.parts.layers):
        orders, effects = curve_orders(layer.order), []
        for order in orders:
            key = f"{kind}/{index}/{order}"
            report(f"effect of layer {index + 1} with {order} of {layer.order} states ({kind})")
            if key not in known:
                try:
                    known[key] = _effect(recording, kind, index, order, few, whole)
                except REFUSALS as refusal:
                    known[key] = float("inf")
                    if refused is not None:
                        refused.setdefault(index, f"{order} of {layer.order} states: {refusal}")
            effects.append(known[key])
        curves.append((np.array(orders, dtype=int), np.array(effects)))
    return tuple(curves)


def _effect(recording: Recording, kind: str, index: int, order: int, few: Array, whole: Array) -> float:
    smaller = refitted_alone(recording, index, truncated(recording, index, kind, order), CURVE_EXAMPLES)
    logits = run_logits(recording.network, recording.parts.with_layer(index, smaller), few)
    measure = measure_of(recording.network)
    return measure.distance(whole, logits, TEMPERATURE) if np.isfinite(logits).all() else float("inf")


def interpolated(orders: Array, effects: Array, n: int) -> Array:
    """The effect at 1 ... n states: log-linear between the measured orders, never rising, zero at n."""
    floor = 1e-12
    finite = np.isfinite(effects)
    cost = np.full(n + 1, np.inf)
    if finite.any():
        least = np.minimum.accumulate(np.where(finite, effects, np.inf))  # more states never hurt
        known = np.log(np.maximum(least[np.isfinite(least)], floor))
        at = orders[np.isfinite(least)]
        inner = np.arange(at[0], n)
        cost[at[0] : n] = np.exp(np.interp(inner, at, known))
    cost[n] = 0.0
    return cost


def divide(costs: Sequence[Array], budget: int) -> tuple[int, ...]:
    """Orders, at least 1 each and `budget` together, with the least sum of costs; exact.

    Parameters
    ----------
    costs : sequence of ndarray
        ``costs[i][r]`` is the effect of r states in layer i; infinite where impossible.
    budget : int
        States of all layers together.
    """
    if budget < len(costs):
        raise OrderError(f"{len(costs)} layers need a state each, the budget is {budget}", budget, len(costs))
    best = np.full(budget + 1, np.inf)
    best[0] = 0.0
    choices = []
    for cost in costs:
        table = np.full(budget + 1, np.inf)
        choice = np.zeros(budget + 1, dtype=int)
        for r in range(1, min(len(cost) - 1, budget) + 1):
            if not np.isfinite(cost[r]):
                continue
            reached = best[: budget + 1 - r] + cost[r]
            better = reached < table[r:]
            table[r:][better], choice[r:][better] = reached[better], r
        best = table
        choices.append(choice)
    if not np.isfinite(best[budget]):
        raise OrderError(f"no division of {budget} states is attainable", budget, 0)
    orders, left = [], budget
    for choice in reversed(choices):
        orders.append(int(choice[left]))
        left -= orders[-1]
    return tuple(reversed(orders))
