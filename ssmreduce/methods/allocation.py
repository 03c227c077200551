r"""Spread one state budget over the layers of a model, exactly, with at least one state for each layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.named import Named, Registry
from theory.errors import InputError, OrderError

Array = NDArray[Any]

BUDGET_ROUNDING = 1e-9
"""States that a product such as 10 (1 - 0.7) may fall short of a whole number by."""


@dataclass(frozen=True, kw_only=True)
class Allocation(Named, ABC):
    """One rule that spreads a budget: a frozen value, like a method.

    Attributes
    ----------
    name, summary : str
        What rows and files say, and one sentence.
    takes, requires : tuple of str
        What a call of :func:`allocate` may, and must, bring along besides the layers.
    """

    takes: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def spread(
        self, layers: Sequence[SSMLayer], sizes: Sequence[int], budget: int, *_: Any, **data: Any
    ) -> tuple[int, ...]:
        """Return the states of each layer: from 1 to its size, `budget` in total."""


ALLOCATIONS: Registry[Allocation] = Registry("allocation", Allocation, "ssmreduce.methods.allocations")
"""The allocations by name: whatever the files of that folder register."""


def budget_of(total: int, ratio: float, layers: int) -> int:
    """States that stay when the fraction `ratio` of `total` is removed: rounded down, and at least one a layer."""
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float, np.number)) or not 0 <= float(ratio) < 1:
        hint = (
            f"; for {ratio} percent pass {ratio / 100:g}"
            if isinstance(ratio, (int, float)) and 1 < ratio <= 100
            else ""
        )
        raise InputError(f"ratio is the fraction of states to remove, 0 <= ratio < 1, got {ratio!r}{hint}")
    return max(int(np.floor(total * (1.0 - ratio) + BUDGET_ROUNDING)), layers)


def allocate(
    layers: Sequence[SSMLayer], budget: int, allocation: str | Allocation = "uniform", **data: Any
) -> tuple[int, ...]:
    r"""Return the number of states that each layer keeps.

    Parameters
    ----------
    layers : sequence of SSMLayer
        An S4D layer counts the states of one channel; all its channels keep the same number.
    budget : int
        States to keep in total: at least one a layer, at most all.
    allocation : str or Allocation
        ``"uniform"``: the same fraction of every layer (largest remainders). ``"last"``, ``"last_released"``: the
        states with the largest LAST scores of all layers together (its global threshold, met exactly). ``"hinf"``: the
        same with exact gains, prefix-normalised; ``"aire"``, ``"lamp"`` with their scores. ``"hsv"``: the largest
        relative tail :math:`\sum_{i>k}\sigma_i/\sum_i\sigma_i` over the layers is as small as the budget allows;
        ``"time_limited"``: the same within 10,000 samples, so that a pole next to the circle does not starve its layer.
        Absolute, so that a layer with a small gain may starve: ``"global"``, ``"global_magnitude"`` (one threshold over
        gains, over magnitudes), ``"abs2"`` (the least sum of all removed :math:`\sigma_i^2`). ``"measured"``: the least
        sum of what cutting each layer alone does to the outputs of a network that runs.
    **data
        What the allocation takes: for ``"hsv"``, ``hsv``, the Hankel singular values of the layers, if known already;
        for ``"measured"``, ``network``, a :class:`ssmreduce.Network` that runs these layers, and ``cut``, a function:
        ``cut(index, order)`` is the layer of that number with at most so many states.

    Returns
    -------
    tuple of int

    Raises
    ------
    OrderError
        The budget is less than one state a layer, or more than there are.
    StabilityError
        A layer is not stable ("uniform" does not ask).
    InputError
        The allocation needs something that is not there, or takes nothing of that name.
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
    chosen = ALLOCATIONS.find(allocation)
    for name in data:
        if name not in chosen.takes:
            raise InputError(f"the allocation {chosen.name!r} takes no {name}")
    for name in chosen.requires:
        if data.get(name) is None:
            without = ", ".join(key for key, rule in ALLOCATIONS.items() if not rule.requires)
            raise InputError(
                f"the allocation {chosen.name!r} needs {name}: pass {name}=..., to reduce_model a network that runs on "
                f"examples; python -m lra reduce and sweep have one. Without: {without}"
            )
    return chosen.spread(layers, sizes, int(budget), **data)
