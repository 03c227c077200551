r"""One budget of states over all layers, by what reducing each layer does to the logits.

:math:`e_i(r)` is the divergence of the whole model's logits from those of the model in which layer i alone has r
states; the sum over the layers stands for the effect of all of them. Measured at a few orders, log-linear between,
and divided exactly by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Network
from ssmreduce.recorded.measures import measure_of
from ssmreduce.recorded.recording import Recording, spread_over
from ssmreduce.recorded.stages import REFUSALS, refitted_alone, run_logits, truncated
from theory.errors import InputError, OrderError

Array = NDArray[Any]
Cut = Callable[[int, int], SSMLayer]
Curves = tuple[tuple[Array, Array], ...]

TEMPERATURE = 4.0
"""Of logits when effects are measured: differences count before they change a prediction."""
CURVE_POINTS = 7
"""Orders at which a layer's effect is measured."""
CURVE_EXAMPLES = 100
"""Examples that an effect is measured on: it spans orders of magnitude, and a tenth of it decides nothing."""
CURVE_SAMPLES = 100_000
"""Of long sequences fewer are enough: as many as hold so many samples, a quarter of :data:`CURVE_EXAMPLES` at least."""


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
) -> Curves:
    """Orders and effects of every layer, truncated on its record and refitted; see :func:`measured_effects`.

    Parameters
    ----------
    recording : Recording
    kind : str
        What stands for observability.
    known, report, refused
        As there.
    """

    longest = max(values.shape[1] for values in recording.whole.inputs.values())
    some = spread_over(len(recording.rows), curve_examples(longest))

    def cut(index: int, order: int) -> SSMLayer:
        return refitted_alone(recording, index, truncated(recording, index, kind, order), some)

    return measured_effects(
        recording.network, recording.rows[some], cut, whole=recording.whole.logits[some],
        name=kind, known=known, report=report, refused=refused,
    )  # fmt: skip


def curve_examples(length: int) -> int:
    """Examples that an effect is measured on where the longest sequence of a layer has so many samples."""
    return min(CURVE_EXAMPLES, max(CURVE_EXAMPLES // 4, CURVE_SAMPLES // max(1, length)))


def measured_effects(
    network: Network,
    rows: Array,
    cut: Cut,
    *,
    whole: Array | None = None,
    points: int = CURVE_POINTS,
    temperature: float = TEMPERATURE,
    name: str = "",
    known: MutableMapping[str, float] | None = None,
    report: Callable[[str], None] = lambda text: None,
    refused: MutableMapping[int, str] | None = None,
    refusals: tuple[type[Exception], ...] = REFUSALS,
) -> Curves:
    r"""Orders and effects, (orders, effects), of every layer; an order that cannot be delivered has infinite effect.

    The effect :math:`e_i(r)` is the distance, in the network's measure, between the outputs of the whole network and of
    the one in which layer i alone is ``cut(i, r)``. Measured, for any method: nothing is proved.

    Parameters
    ----------
    network : Network
    rows : ndarray of int
        Examples that it is measured on.
    cut : callable
        ``cut(index, order)`` is a layer with at most so many states.
    whole : ndarray, optional, keyword only
        The whole network's outputs on these examples, if known already.
    points : int, keyword only
        Orders at which a layer's effect is measured.
    temperature : float, keyword only
        Of logits.
    name : str, keyword only
        Of what cuts, for `known` and `report`.
    known : mutable mapping, optional, keyword only
        Effects that were measured before, ``"name/layer/order"`` to effect; new ones are added, so that an interrupted
        search goes on where it was.
    report : callable, keyword only
        Told what is measured next.
    refused : mutable mapping, optional, keyword only
        Gets, by the number of the layer, why an order could not be delivered.
    refusals : tuple of type, keyword only
        Errors of `cut` that say so; others end the search.
    """
    known = {} if known is None else known
    curves = []
    for index, layer in enumerate(network.parts.layers):
        orders, effects = curve_orders(layer.order, points), []
        for order in orders:
            key = f"{name}/{index}/{order}"
            report(f"effect of layer {index + 1} with {order} of {layer.order} states{f' ({name})' if name else ''}")
            if key not in known:
                whole = _whole(network, rows) if whole is None else whole.astype(float)
                try:
                    known[key] = _effect(network, cut, index, order, rows, whole, temperature)
                except refusals as refusal:
                    known[key] = float("inf")
                    if refused is not None:
                        refused.setdefault(index, f"{order} of {layer.order} states: {refusal}")
            effects.append(known[key])
        curves.append((np.array(orders, dtype=int), np.array(effects)))
    return tuple(curves)


def _whole(network: Network, rows: Array) -> Array:
    found = run_logits(network, network.parts, rows)
    if not np.isfinite(found).all():
        raise InputError("the network gives outputs that are not finite: look at it before it is reduced")
    return found


def _effect(network: Network, cut: Cut, index: int, order: int, rows: Array, whole: Array, temperature: float) -> float:
    logits = run_logits(network, network.parts.with_layer(index, cut(index, order)), rows)
    return measure_of(network).distance(whole, logits, temperature) if np.isfinite(logits).all() else float("inf")


def divided(
    curves: Curves, sizes: Sequence[int], budget: int, refused: Mapping[int, str] | None = None
) -> tuple[int, ...]:
    """The budget divided by measured curves: :func:`interpolated`, then :func:`divide`; an error says what was refused.

    Raises
    ------
    OrderError
        No division can be delivered.
    """
    costs = [interpolated(orders, effects, n) for (orders, effects), n in zip(curves, sizes, strict=True)]
    try:
        return divide(costs, budget)
    except OrderError as error:
        why = "".join(f"; layer {index} with {text}" for index, text in sorted((refused or {}).items()))
        raise OrderError(f"{error}{why}", error.asked, error.attainable) from None


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


def spread_evenly(sizes: list[int], budget: int) -> tuple[int, ...]:
    """The same part of every layer, at least one state each, exactly `budget` together."""
    share = np.array(sizes, dtype=float) * budget / sum(sizes)
    orders = np.maximum(1, np.floor(share).astype(int))
    while orders.sum() > budget:
        orders[int(np.argmax(np.where(orders > 1, orders - share, -np.inf)))] -= 1
    while orders.sum() < budget:
        orders[int(np.argmax(np.where(orders < sizes, share - orders, -np.inf)))] += 1
    return tuple(int(order) for order in orders)
