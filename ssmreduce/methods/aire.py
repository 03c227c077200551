"""AIRE's criterion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ssmreduce.methods.registry import METHODS
from ssmreduce.methods.scores import Scored, aire_scores
from ssmreduce.methods.selection import Selection


@dataclass(frozen=True, kw_only=True)
class Aire(Selection):
    """Keeps the poles with the largest impulse energy, as AIRE does."""

    title = "AIRE score"
    allocation = "aire"

    def score(self, source: Scored) -> NDArray[Any]:
        """Impulse energy of every state, prefix-normalised."""
        return aire_scores(source)


METHODS.register("aire", Aire())
