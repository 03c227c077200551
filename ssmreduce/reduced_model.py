"""Reduce all layers of a model under one state budget: ``reduce_model``."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ssmreduce.cuts import Cuts, at_most, exactly, reduced_layer
from ssmreduce.files.model import Model
from ssmreduce.files.record import after_reduction
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS, Allocation, budget_of
from ssmreduce.methods.registry import METHODS, Method
from ssmreduce.network import Network
from ssmreduce.recorded.changed_form import require_changed_form
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.search import Search
from ssmreduce.running_order import RunningOrder
from theory.errors import InputError


def reduce_model(
    model: Model,
    ratio: float | None = None,
    method: str | Method | None = None,
    allocation: str | Allocation | None = None,
    *,
    budget: int | None = None,
    orders: int | Sequence[int] | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
    network: Network | None = None,
    recipe: Recipe | None = None,
    known: MutableMapping[str, float] | None = None,
) -> Model:
    """Return the model with smaller layers; everything but the layers stays, bit for bit.

    With a `network` the layers are reduced from what they see when it runs on its own, unlabelled examples: by the
    whole recipe of :mod:`ssmreduce.recorded`, or by the `method` that is named, the budget divided by what the network
    makes of it.

    Parameters
    ----------
    model : Model
        From :func:`ssmreduce.load`.
    ratio : float
        Fraction of the stored states to remove, ``0 <= ratio < 1``: 0.3 keeps 70 percent of them, rounded down, and at
        least one a layer.
    method : str or Method, optional
        As in :func:`ssmreduce.reduce`; by default "balanced", and the whole recipe with a network. Methods that need
        recorded inputs get the network's.
    allocation : str or Allocation, optional
        How the budget is spread over the layers, one of :data:`ssmreduce.ALLOCATIONS` or a value; by
        default the one that goes with the method: "time_limited" for "balanced", "modal" and their like, its own scores
        for LAST, AIRE and LAMP, else "uniform". With a network "measured" for every method.
    budget : int, optional, keyword only
        Instead of `ratio`: stored states to keep, all layers together.
    orders : int or sequence of int, optional, keyword only
        Instead of both: stored states to keep in each layer; one number for every layer. No allocation then.
    seed : int, keyword only
        For "random"; every layer draws its own.
    progress : callable, optional, keyword only
        Called as ``progress(done, total, what)``.
    network : Network, optional, keyword only
        The model as it runs, with examples; the layers of its ``parts`` are the model's in the order in which they
        run, which need not be that of the file. Only the layers are changed, unless the recipe is followed and the
        network has ``with_parts(parts) -> Model``: then norms and decoder are corrected, too.
    recipe : Recipe, optional, keyword only
        The choices of the recipe.
    known : mutable mapping, optional, keyword only
        Of the recipe: effects of layers that were measured before, by a name; new ones are added at once. A dictionary
        that the caller keeps, in a file as JSON for instance, spares an interrupted search, and another `ratio`, the
        longest part. It belongs to one network, its examples and one seed.

    Returns
    -------
    Model
        Layers of possibly different sizes (:meth:`Model.padded` makes them equal for the reference S5 code).
        ``.training["reduction"]`` records this reduction: method, allocation, orders before and after, bounds, remarks,
        and for "measured" the effects, by ``"layer/order"``; None where the method did not deliver. See
        :mod:`ssmreduce.files.record` for what becomes of the record that was there.

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
    order = RunningOrder(model.layers, network)
    if network is not None:
        require_changed_form(network)
    if network is not None and method is None:
        if orders is not None or allocation is not None:
            raise InputError(
                "with a network and no method the recipe chooses allocation and orders: give ratio or budget, or name "
                "a method, as method='balanced'"
            )
        recipe = replace(recipe or Recipe(), seed=seed)
        return _from_record(model, ratio, budget, network, order, recipe, progress, known)
    if recipe is not None or known is not None:
        raise InputError("a recipe, and what is known of it, goes with a network, and is a method of its own")
    chosen = METHODS.find("balanced" if method is None else method)
    layers = order.running(model.layers)
    report = progress or (lambda done, total, what: None)
    cuts = Cuts(layers, chosen, seed, network)
    effects: dict[str, float] = {}
    spread: dict[str, Any] = {"allocation": None, "ratio": None, "budget": None}
    if orders is not None:
        if allocation is not None:
            raise InputError("an allocation spreads a ratio or a budget; orders say what each layer keeps")
        asked = tuple(order.running(_checked_orders(orders, len(layers))))
    else:
        default: str | Allocation = chosen.allocation if network is None else "measured"
        rule = ALLOCATIONS.find(default if allocation is None else allocation)
        states = budget_of(model.n_states, ratio, len(layers)) if ratio is not None else budget
        assert states is not None
        report(0, len(layers), "spreading the budget")
        asked = cuts.spread(rule, states, effects, lambda text: report(0, len(layers), text))
        spread = {"allocation": rule.name, "ratio": ratio, "budget": int(states)}
    reductions = []
    for i, (layer, share) in enumerate(zip(layers, asked, strict=True)):
        report(i, len(layers), f"layer {i} to {share} of {layer.order} states")
        reductions.append(cuts.at_most(i, share) if orders is None else cuts.exactly(i, share))
        _ = reduced_layer(reductions[-1])  # what its code base cannot hold is said at once
    report(len(layers), len(layers), "done")
    copies = {
        prefix: order.filed([
            _alike(twin, reduction.order, chosen, seed + i, **cuts.data(i))
            for i, (twin, reduction) in enumerate(zip(order.running(twins), reductions, strict=True))
        ])
        for prefix, twins in model.copies.items()
    }  # fmt: skip
    reductions = order.filed(reductions)
    smaller = model.replace_layers([reduced_layer(reduction) for reduction in reductions], copies)
    record = {
        "method": chosen.name,
        **spread,
        "seed": seed,
        "orders_before": [layer.order for layer in model.layers],
        "orders_asked": order.filed(asked),
        "orders": [reduction.order for reduction in reductions],
        "methods": [reduction.method for reduction in reductions],
        "bounds": [float(np.max(reduction.bound)) for reduction in reductions],
        "remarks": [[remark.value for remark in reduction.remarks] for reduction in reductions],
    }
    if effects:
        record["effects"] = {
            f"{order.place(int(index))}/{states}": effect if np.isfinite(effect) else None
            for (index, states), effect in ((key.lstrip("/").split("/"), effect) for key, effect in effects.items())
        }
    return smaller.with_training(after_reduction(model.training, record))


def _from_record(
    model: Model,
    ratio: float | None,
    budget: int | None,
    network: Network,
    order: RunningOrder,
    recipe: Recipe,
    progress: Callable[[int, int, str], None] | None,
    known: MutableMapping[str, float] | None,
) -> Model:
    """The whole recipe; what stays as it is where the network cannot write it."""
    writes = callable(getattr(network, "with_parts", None))
    if not writes:
        recipe = replace(recipe, norms=False, decoder=False)
    search = Search(network, recipe, progress, known)
    states = budget_of(model.n_states, ratio, len(model.layers)) if ratio is not None else budget
    assert states is not None
    outcome = search.reduce(int(states))
    parts = outcome.parts
    filed = order.filed(parts.layers)
    smaller = network.with_parts(parts) if writes else model.replace_layers(filed)  # type: ignore[attr-defined]
    record = outcome.record(network.parts.layers) | {"ratio": ratio, "budget": int(states), "recipe": asdict(recipe)}
    record |= {name: order.filed(record[name]) for name in ("orders_before", "orders", "bounds")}
    record["candidates"] = [one | {"orders": order.filed(one["orders"])} for one in record["candidates"]]
    record["running_order"] = order.places  # in which the details of the stages name orders
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


def _alike(layer: SSMLayer, order: int, method: Method, seed: int, **data: Any) -> SSMLayer:
    """Reduce a copy of a layer (an average of the weights) to the very order of the layer."""
    reduced = reduced_layer((at_most if order else exactly)(layer, order, method, seed, **data))
    return reduced if reduced.order == order else reduced.padded(order)
