"""Random pruning: the baseline of baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ssmreduce.methods.registry import METHODS
from ssmreduce.methods.scores import Scored, random_scores
from ssmreduce.methods.selection import Selection


@dataclass(frozen=True, kw_only=True)
class Random(Selection):
    """Keeps poles at random: what any criterion should beat."""

    title = "random"
    allocation = "uniform"
    baseline = True
    takes = ("seed",)

    def score(self, source: Scored, seed: int = 0) -> NDArray[Any]:
        """A uniform draw for every state."""
        return random_scores(source, seed)


METHODS.register("random", Random())
