r"""The largest relative tail of Hankel singular values, as small as the budget allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS, Allocation
from ssmreduce.methods.registry import shared

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class HankelTails(Allocation):
    r"""The largest relative tail of Hankel singular values over the layers is as small as the budget allows.

    Minimizes :math:`\max_l\sum_{i>k_l}\sigma_{l,i}/\sum_i\sigma_{l,i}` over :math:`\sum_l k_l` = budget; greedily,
    which is optimal, because every tail only falls.
    """

    takes = ("hsv",)

    def spread(
        self, layers: Sequence[SSMLayer], sizes: Sequence[int], budget: int, hsv: Sequence[Array] | None = None
    ) -> tuple[int, ...]:
        """Give each further state to the layer that misses most."""
        for layer in layers:
            layer.require_stable()
        known = [shared(layer.system).hsv for layer in layers] if hsv is None else hsv
        tails = [relative_tails(layer, np.asarray(values)) for layer, values in zip(layers, known, strict=True)]
        return smallest_largest(tails, sizes, budget)


def smallest_largest(tails: Sequence[Array], sizes: Sequence[int], budget: int) -> tuple[int, ...]:
    """The orders whose largest tail is smallest: each further state goes to the layer that misses most."""
    kept = [1] * len(sizes)
    for _ in range(budget - len(sizes)):
        open_ = [i for i, size in enumerate(sizes) if kept[i] < size]
        best = max(open_, key=lambda i: (tails[i][kept[i]], -i))
        kept[best] += 1
    return tuple(kept)


def relative_tails(layer: SSMLayer, values: Array) -> Array:
    """What is left over after r = 0 .. n states, relative to everything; the worst channel of an S4D layer.

    Parameters
    ----------
    layer : SSMLayer
    values : ndarray, shape (..., N)
        Singular values, descending.
    """
    total = values.sum(axis=-1, keepdims=True)
    tail = np.cumsum(values[..., ::-1], axis=-1)[..., ::-1]
    relative = np.divide(tail, total, out=np.zeros_like(tail), where=total > 0)
    relative = np.concatenate([relative, np.zeros((*relative.shape[:-1], 1))], axis=-1)
    each = values.shape[-1] // layer.order  # real states for each stored one
    worst = relative.reshape(-1, relative.shape[-1]).max(axis=0)
    return worst[np.minimum(np.arange(layer.order + 1) * each, values.shape[-1])]  # type: ignore[no-any-return]


ALLOCATIONS.register("hsv", HankelTails())
