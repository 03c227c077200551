"""Reduce all layers of a model under one state budget: ``reduce_model``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ssmreduce.files.model import Model
from ssmreduce.files.record import after_reduction
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS, Allocation, allocate, budget_of
from ssmreduce.methods.registry import METHODS, Method
from ssmreduce.network import Network
from ssmreduce.recorded.recipe import Recipe, Search
from ssmreduce.reduction import Reduction, reduce
from theory.errors import InputError, OrderError


def reduce_model(
    model: Model,
    ratio: float | None = None,
    method: str | Method = "balanced",
    allocation: str | Allocation | None = None,
    *,
    budget: int | None = None,
    orders: int | Sequence[int] | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
    network: Network | None = None,
    recipe: Recipe | None = None,
) -> Model:
    """Return the model with smaller layers; everything but the layers stays, bit for bit.

    With a `network` the layers are reduced from what they see when it runs on its own, unlabelled examples, by the
    whole recipe of :mod:`ssmreduce.recorded`.

    Parameters
    ----------
    model : Model
        From :func:`ssmreduce.load`.
    ratio : float
        Fraction of the stored states to remove, ``0 <= ratio < 1``: 0.3 keeps 70 percent of them, rounded down, and at
        least one a layer.
    method : str or Method
        As in :func:`ssmreduce.reduce`.
    allocation : str or Allocation, optional
        How the budget is spread over the layers, one of :data:`ssmreduce.ALLOCATIONS` or a value; by
        default the one that goes with the method: "time_limited" for "balanced", "modal" and their like, its own scores
        for LAST, AIRE and LAMP, else "uniform".
    budget : int, optional, keyword only
        Instead of `ratio`: stored states to keep, all layers together.
    orders : int or sequence of int, optional, keyword only
        Instead of both: stored states to keep in each layer; one number for every layer. No allocation then.
    seed : int, keyword only
        For "random"; every layer draws its own.
    progress : callable, optional, keyword only
        Called as ``progress(done, total, what)``.
    network : Network, optional, keyword only
        The model as it runs, with examples; `method` and `allocation` are then the recipe's. Only the layers are
        changed, unless the network has ``with_parts(parts) -> Model``: then norms and decoder are corrected, too.
    recipe : Recipe, optional, keyword only
        The choices of that recipe.

    Returns
    -------
    Model
        Layers of possibly different sizes (:meth:`Model.padded` makes them equal for the reference S5 code).
        ``.training["reduction"]`` records this reduction: method, allocation, orders before and after, bounds, remarks;
        see :mod:`ssmreduce.files.record` for what becomes of the record that was there.

    Raises
    ------
    OrderError
        The budget is less than one state a layer, or an order is more than a layer has (with `orders`: more than is
        numerically present in it).
    StabilityError, AccuracyError, InputError

    Notes
    -----
    A layer in which fewer states are numerically present than its share of a budget gets those, and one stored state
    ("modal") where there are none; the budget is then not used up, and never exceeded. The bounds are those of each
    layer; no bound on the whole network follows from them.
    """
    if not isinstance(model, Model):
        raise InputError(f"reduce_model takes a Model, from ssmreduce.load(path); got {type(model).__name__}")
    if sum(size is not None for size in (ratio, budget, orders)) != 1:
        raise InputError(
            "give either ratio (fraction of states to remove), budget (states to keep) or orders (states of each layer)"
        )
    if network is not None:
        if orders is not None or allocation is not None or method != "balanced":
            raise InputError("with a network the recipe chooses method, allocation and orders: give ratio or budget")
        return _from_record(model, ratio, budget, network, replace(recipe or Recipe(), seed=seed), progress)
    if recipe is not None:
        raise InputError("a recipe goes with a network")
    chosen = METHODS.find(method)
    layers = model.layers
    report = progress or (lambda done, total, what: None)
    spread: dict[str, Any]
    if orders is not None:
        if allocation is not None:
            raise InputError("an allocation spreads a ratio or a budget; orders say what each layer keeps")
        asked = _checked_orders(orders, len(layers))
        spread = {"allocation": None, "ratio": None, "budget": None}
    else:
        rule = ALLOCATIONS.find(chosen.allocation if allocation is None else allocation)
        total = sum(layer.order for layer in layers)
        states = budget_of(total, ratio, len(layers)) if ratio is not None else budget
        assert states is not None
        report(0, len(layers), "spreading the budget")
        asked = allocate(layers, states, rule)
        spread = {"allocation": rule.name, "ratio": ratio, "budget": int(states)}
    reductions = []
    for i, (layer, order) in enumerate(zip(layers, asked, strict=True)):
        report(i, len(layers), f"layer {i} to {order} of {layer.order} states")
        if orders is None:
            reductions.append(at_most(layer, order, chosen, seed + i))
        else:
            reductions.append(_exactly(layer, order, chosen, seed + i))
    report(len(layers), len(layers), "done")
    copies = {
        prefix: [
            _alike(twin, reduction.order, chosen, seed + i)
            for i, (twin, reduction) in enumerate(zip(twins, reductions, strict=True))
        ]
        for prefix, twins in model.copies.items()
    }
    smaller = model.replace_layers([_layer(reduction) for reduction in reductions], copies)
    record = {
        "method": chosen.name,
        **spread,
        "seed": seed,
        "orders_before": [layer.order for layer in layers],
        "orders_asked": list(asked),
        "orders": [reduction.order for reduction in reductions],
        "methods": [reduction.method for reduction in reductions],
        "bounds": [float(np.max(reduction.bound)) for reduction in reductions],
        "remarks": [[remark.value for remark in reduction.remarks] for reduction in reductions],
    }
    return smaller.with_training(after_reduction(model.training, record))


def _from_record(
    model: Model,
    ratio: float | None,
    budget: int | None,
    network: Network,
    recipe: Recipe,
    progress: Callable[[int, int, str], None] | None,
) -> Model:
    """The whole recipe; what stays as it is where the network cannot write it."""
    writes = callable(getattr(network, "with_parts", None))
    if not writes:
        recipe = replace(recipe, norms=False, decoder=False)
    search = Search(network, recipe, progress)
    states = budget_of(model.n_states, ratio, len(model.layers)) if ratio is not None else budget
    assert states is not None
    outcome = search.reduce(int(states))
    parts = outcome.parts
    smaller = network.with_parts(parts) if writes else model.replace_layers(parts.layers)  # type: ignore[attr-defined]
    record = outcome.record(model.layers) | {"ratio": ratio, "budget": int(states), "recipe": asdict(recipe)}
    return smaller.with_training(after_reduction(model.training, record))


def _checked_orders(orders: int | Sequence[int], layers: int) -> tuple[int, ...]:
    """One order for each layer; :func:`ssmreduce.reduce` checks its range."""
    if isinstance(orders, (int, np.integer)):
        return (int(orders),) * layers
    listed = tuple(orders)
    if len(listed) != layers:
        raise InputError(
            f"the model has {layers} layers, {len(listed)} orders were given; one number is for all layers"
        )
    return listed


def _exactly(layer: SSMLayer, order: int, method: Method, seed: int) -> Reduction:
    """Reduce to what was asked for; an error names the layer."""
    try:
        return reduce(layer, order=order, method=method, seed=seed)
    except OrderError as error:
        raise OrderError(f"layer {layer.name}: {error}", error.asked, error.attainable) from None


def at_most(layer: SSMLayer, order: int, method: Method, seed: int, **data: Any) -> Reduction:
    """Reduce to a share of a budget, or to what is numerically there of it; one state stays.

    `data` is what the method takes besides, as for :func:`ssmreduce.reduce`.
    """
    try:
        return reduce(layer, order=order, method=method, seed=seed, **data)
    except OrderError as error:
        if error.attainable == 0:  # no state reaches an output: any one of them will do
            return reduce(layer, order=1, method="modal")
        if error.attainable >= order:
            raise
        return reduce(layer, order=error.attainable, method=method, seed=seed, **data)


def _alike(layer: SSMLayer, order: int, method: Method, seed: int) -> SSMLayer:
    """Reduce a copy of a layer (an average of the weights) to the very order of the layer."""
    reduced = _layer(at_most(layer, order, method, seed) if order else _exactly(layer, order, method, seed))
    return reduced if reduced.order == order else reduced.padded(order)


def _layer(reduction: Reduction) -> SSMLayer:
    assert reduction.layer is not None
    return reduction.layer
