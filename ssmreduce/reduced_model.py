"""Reduce all layers of a model under one state budget: ``reduce_model``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ssmreduce.files.model import Model
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS, Allocation, allocate, budget_of
from ssmreduce.methods.registry import METHODS, Method
from ssmreduce.reduction import Reduction, reduce
from theory.errors import InputError, OrderError


def reduce_model(
    model: Model,
    ratio: float | None = None,
    method: str | Method = "balanced",
    allocation: str | Allocation | None = None,
    *,
    budget: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Model:
    """Return the model with smaller layers; everything but the layers stays, bit for bit.

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
        default the one that goes with the method: "hsv" for "balanced", its own scores for "modal", LAST, AIRE and
        LAMP, else "uniform".
    budget : int, optional, keyword only
        Instead of `ratio`: stored states to keep, all layers together.
    seed : int, keyword only
        For "random"; every layer draws its own.
    progress : callable, optional, keyword only
        Called as ``progress(done, total, what)``.

    Returns
    -------
    Model
        Layers of possibly different sizes (:meth:`Model.padded` makes them equal for the reference S5 code);
        ``.training["reduction"]`` records method, orders and bounds.

    Raises
    ------
    OrderError, StabilityError, AccuracyError, InputError

    Notes
    -----
    A layer in which fewer states are numerically present than its share gets those; the budget is then not used up, and
    never exceeded. The bounds are those of each layer; no bound on the whole network follows from them.
    """
    if not isinstance(model, Model):
        raise InputError(f"reduce_model takes a Model, from ssmreduce.load(path); got {type(model).__name__}")
    if (ratio is None) == (budget is None):
        raise InputError("give either ratio (fraction of states to remove) or budget (states to keep)")
    chosen = METHODS.find(method)
    rule = ALLOCATIONS.find(chosen.allocation if allocation is None else allocation)
    layers = model.layers
    total = sum(layer.order for layer in layers)
    states = budget_of(total, ratio, len(layers)) if ratio is not None else budget
    assert states is not None
    report = progress or (lambda done, total, what: None)
    report(0, len(layers), "spreading the budget")
    orders = allocate(layers, states, rule)
    reductions = []
    for i, (layer, order) in enumerate(zip(layers, orders, strict=True)):
        report(i, len(layers), f"layer {i} to {order} of {layer.order} states")
        reductions.append(_reduced(layer, order, chosen, seed + i))
    report(len(layers), len(layers), "done")
    smaller = model.replace_layers([_layer(reduction) for reduction in reductions])
    record = {
        "method": chosen.name,
        "allocation": rule.name,
        "ratio": ratio,
        "budget": int(states),
        "seed": seed,
        "orders_before": [layer.order for layer in layers],
        "orders": [reduction.order for reduction in reductions],
        "bounds": [float(np.max(reduction.bound)) for reduction in reductions],
    }
    return smaller.with_training({**model.training, "reduction": record})


def _reduced(layer: SSMLayer, order: int, method: Method, seed: int) -> Reduction:
    try:
        return reduce(layer, order=order, method=method, seed=seed)
    except OrderError as error:
        if error.attainable == 0:  # no state reaches an output: any one of them will do
            return reduce(layer, order=1, method="modal")
        if error.attainable >= order:
            raise
        return reduce(layer, order=error.attainable, method=method, seed=seed)


def _layer(reduction: Reduction) -> SSMLayer:
    assert reduction.layer is not None
    return reduction.layer
