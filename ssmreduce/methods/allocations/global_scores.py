"""One threshold for the scores of all layers as they are: what pruning calls global, to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.allocation import ALLOCATIONS, Allocation
from ssmreduce.methods.allocations.global_threshold import by_rank, largest_together
from ssmreduce.methods.scores import state_scores


@dataclass(frozen=True, kw_only=True)
class GlobalScores(Allocation):
    """As many states as one threshold over the scores of all layers keeps, not normalised; each keeps its best.

    Attributes
    ----------
    criterion : {"hinf", "magnitude"}
        Exact H-infinity gain of a state alone, or its magnitude.
    """

    criterion: Literal["hinf", "magnitude"]

    @property
    def summary(self) -> str:
        """Whose scores."""
        whose = "exact H-infinity gains" if self.criterion == "hinf" else "magnitudes"
        return f"As many states as one threshold over the {whose} of all layers keeps, not normalised, at least one."

    def spread(self, layers: Sequence[SSMLayer], sizes: Sequence[int], budget: int) -> tuple[int, ...]:
        """Keep the `budget` largest scores, the best of each layer among them; ties go to earlier layers."""
        return largest_together([by_rank(state_scores(layer, self.criterion)) for layer in layers], budget)


ALLOCATIONS.register("global", GlobalScores(criterion="hinf"))
ALLOCATIONS.register("global_magnitude", GlobalScores(criterion="magnitude"))
