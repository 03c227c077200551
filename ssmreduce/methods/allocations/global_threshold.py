"""One threshold for the scores of all layers together, met exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS, Allocation
from ssmreduce.methods.scores import hinf_scores, prefix_normalised, state_scores

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class GlobalThreshold(Allocation):
    """As many states as one threshold over the prefix-normalised scores of all layers keeps; each keeps its best.

    Attributes
    ----------
    criterion : {"hinf", "last", "last_released", "aire", "lamp"}
        Whose scores; "hinf" takes the squares of the exact gains.
    """

    criterion: Literal["hinf", "last", "last_released", "aire", "lamp"]

    @property
    def summary(self) -> str:
        """Whose scores."""
        whose = "exact H-infinity gains, squared," if self.criterion == "hinf" else f"{self.criterion} scores"
        return f"As many states as one threshold over the prefix-normalised {whose} of all layers keeps, at least one."

    def spread(self, layers: Sequence[SSMLayer], sizes: Sequence[int], budget: int) -> tuple[int, ...]:
        """Keep the `budget` largest scores, the best of each layer among them; ties go to earlier layers."""
        return largest_together([by_rank(self._scores(layer)) for layer in layers], budget)

    def _scores(self, layer: SSMLayer) -> Array:
        if self.criterion == "hinf":
            return prefix_normalised(hinf_scores(layer) ** 2)
        return state_scores(layer, self.criterion)


def largest_together(ranked: Sequence[Array], budget: int) -> tuple[int, ...]:
    """How many of each layer are among the `budget` largest of all, its own largest always; ties: earlier layers.

    Parameters
    ----------
    ranked : sequence of ndarray
        Values of each layer's states, ascending.
    """
    rest = [(-value, i, j) for i, values in enumerate(ranked) for j, value in enumerate(values[:-1][::-1])]
    kept = [1] * len(ranked)
    for _, i, _ in sorted(rest)[: budget - len(ranked)]:
        kept[i] += 1
    return tuple(kept)


def by_rank(values: Array) -> Array:
    """Scores of one layer, ascending; of an S4D layer the mean over channels at each rank."""
    ascending = np.sort(values, axis=-1)
    return ascending if ascending.ndim == 1 else ascending.mean(axis=0)


ALLOCATIONS.register("hinf", GlobalThreshold(criterion="hinf"))
ALLOCATIONS.register("last", GlobalThreshold(criterion="last"))
ALLOCATIONS.register("last_released", GlobalThreshold(criterion="last_released"))
ALLOCATIONS.register("aire", GlobalThreshold(criterion="aire"))
ALLOCATIONS.register("lamp", GlobalThreshold(criterion="lamp"))
