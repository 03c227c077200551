r"""Spread one state budget over the layers of a model, exactly, with at least one state for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import shared
from ssmreduce.methods.scores import Variant, hinf_scores, last_scores, prefix_normalised
from theory.errors import InputError, OrderError

Array = NDArray[Any]

ALLOCATIONS = ("uniform", "last", "last_released", "hinf", "hsv")


def budget_of(total: int, ratio: float, layers: int) -> int:
    """States that stay when the fraction `ratio` of `total` is removed: rounded down, and at least one a layer."""
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float, np.number)) or not 0 <= float(ratio) < 1:
        hint = (
            f"; for {ratio} percent pass {ratio / 100:g}"
            if isinstance(ratio, (int, float)) and 1 < ratio <= 100
            else ""
        )
        raise InputError(f"ratio is the fraction of states to remove, 0 <= ratio < 1, got {ratio!r}{hint}")
    return max(int(np.floor(total * (1.0 - ratio) + 1e-9)), layers)


def allocate(
    layers: Sequence[SSMLayer], budget: int, allocation: str = "uniform", *, hsv: Sequence[Array] | None = None
) -> tuple[int, ...]:
    r"""Return the number of states that each layer keeps.

    Parameters
    ----------
    layers : sequence of SSMLayer
        An S4D layer counts the states of one channel; all its channels keep the same number.
    budget : int
        States to keep in total: at least one a layer, at most all.
    allocation : str
        ``"uniform"``: the same fraction of every layer (largest remainders). ``"last"``, ``"last_released"``: the
        states with the largest LAST scores of all layers together (its global threshold, met exactly). ``"hinf"``: the
        same with exact gains, prefix-normalised. ``"hsv"``: the largest relative tail
        :math:`\sum_{i>k}\sigma_i/\sum_i\sigma_i` over the layers is as small as the budget allows.
    hsv : sequence of ndarray, optional, keyword only
        Hankel singular values of the layers, if known already.

    Returns
    -------
    tuple of int

    Raises
    ------
    OrderError
        The budget is less than one state a layer, or more than there are.
    StabilityError
        A layer is not stable ("uniform" does not ask).
    """
    sizes = [layer.order for layer in layers]
    if not layers or min(sizes) < 1:
        raise InputError("every layer must have at least one state")
    if isinstance(budget, bool) or int(budget) != budget or not len(layers) <= budget <= sum(sizes):
        raise OrderError(
            f"the budget must be between {len(layers)} (one state a layer) and {sum(sizes)} (all), got {budget}",
            int(budget),
            sum(sizes),
        )
    if allocation == "uniform":
        return _uniform(sizes, int(budget))
    if allocation == "hsv":
        tails = [_relative_tails(layer, None if hsv is None else hsv[i]) for i, layer in enumerate(layers)]
        return _greedy(tails, sizes, int(budget))
    if allocation in ("last", "last_released"):
        variant: Variant = "paper" if allocation == "last" else "released"
        return _global([_by_rank(last_scores(layer, variant)) for layer in layers], sizes, int(budget))
    if allocation == "hinf":
        return _global([_by_rank(prefix_normalised(hinf_scores(layer) ** 2)) for layer in layers], sizes, int(budget))
    raise InputError(f"unknown allocation {allocation!r}; the allocations are {', '.join(ALLOCATIONS)}")


def _uniform(sizes: Sequence[int], budget: int) -> tuple[int, ...]:
    """Largest remainders over one state a layer; ties go to earlier layers."""
    exact = [size * budget / sum(sizes) for size in sizes]
    kept = [max(1, int(np.floor(share + 1e-9))) for share in exact]
    while sum(kept) != budget:
        up = sum(kept) < budget
        gap = [(share - count) * (1 if up else -1) for share, count in zip(exact, kept, strict=True)]
        open_ = [i for i, count in enumerate(kept) if (count < sizes[i] if up else count > 1)]
        best = max(open_, key=lambda i: (gap[i], -i))
        kept[best] += 1 if up else -1
    return tuple(kept)


def _by_rank(values: Array) -> Array:
    """Scores of one layer, ascending; of an S4D layer the mean over channels at each rank."""
    ascending = np.sort(values, axis=-1)
    return ascending if ascending.ndim == 1 else ascending.mean(axis=0)


def _global(ranked: Sequence[Array], sizes: Sequence[int], budget: int) -> tuple[int, ...]:
    """The `budget` largest scores of all layers, the best of each layer among them; ties go to earlier layers."""
    rest = [(-value, i, j) for i, values in enumerate(ranked) for j, value in enumerate(values[:-1][::-1])]
    kept = [1] * len(sizes)
    for _, i, _ in sorted(rest)[: budget - len(sizes)]:
        kept[i] += 1
    return tuple(kept)


def _relative_tails(layer: SSMLayer, hsv: Array | None) -> Array:
    """What is left over after r = 0 .. n states, relative to everything; the worst channel of an S4D layer."""
    layer.require_stable()
    values = shared(layer.system).hsv if hsv is None else np.asarray(hsv)
    total = values.sum(axis=-1, keepdims=True)
    tail = np.cumsum(values[..., ::-1], axis=-1)[..., ::-1]
    relative = np.divide(tail, total, out=np.zeros_like(tail), where=total > 0)
    relative = np.concatenate([relative, np.zeros((*relative.shape[:-1], 1))], axis=-1)
    each = values.shape[-1] // layer.order  # real states for each stored one
    worst = relative.reshape(-1, relative.shape[-1]).max(axis=0)
    return worst[np.minimum(np.arange(layer.order + 1) * each, values.shape[-1])]  # type: ignore[no-any-return]


def _greedy(tails: Sequence[Array], sizes: Sequence[int], budget: int) -> tuple[int, ...]:
    """Give each further state to the layer that misses most: minimises the largest tail."""
    kept = [1] * len(sizes)
    for _ in range(budget - len(sizes)):
        open_ = [i for i, size in enumerate(sizes) if kept[i] < size]
        best = max(open_, key=lambda i: (tails[i][kept[i]], -i))
        kept[best] += 1
    return tuple(kept)
