r"""The least sum of the squares of all Hankel singular values that are removed, whatever the scale of their layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS, Allocation
from ssmreduce.methods.allocations.global_threshold import largest_together
from ssmreduce.methods.registry import shared

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class HankelSquares(Allocation):
    r"""The sum of the squares of all Hankel singular values that are removed is as small as the budget allows.

    Minimizes :math:`\sum_l\sum_{i>k_l}\sigma_{l,i}^2` over :math:`\sum_l k_l` = budget. What a further state takes away
    from a layer's sum only falls, so keeping the largest of all layers together is the optimum that dynamic programming
    finds. The squares are absolute: they mean something where the layers' outputs have one scale.
    """

    takes = ("hsv",)

    def spread(
        self, layers: Sequence[SSMLayer], sizes: Sequence[int], budget: int, hsv: Sequence[Array] | None = None
    ) -> tuple[int, ...]:
        """Keep the `budget` largest squares, the largest of each layer among them; ties go to earlier layers."""
        return largest_together(
            [_squares(layer, None if hsv is None else hsv[i])[::-1] for i, layer in enumerate(layers)], budget
        )


def _squares(layer: SSMLayer, hsv: Array | None) -> Array:
    """Squares that each stored state stands for, descending; all channels of an S4D layer together."""
    layer.require_stable()
    values = shared(layer.system).hsv if hsv is None else np.asarray(hsv)
    squares = (values.reshape(-1, layer.order, values.shape[-1] // layer.order) ** 2).sum(axis=(0, 2))
    return np.asarray(squares)


ALLOCATIONS.register("abs2", HankelSquares())
