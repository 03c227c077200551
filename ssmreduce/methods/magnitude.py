"""Magnitude pruning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ssmreduce.methods.registry import METHODS
from ssmreduce.methods.scores import Scored, magnitude_scores
from ssmreduce.methods.selection import Selection


@dataclass(frozen=True, kw_only=True)
class Magnitude(Selection):
    """Keeps the poles with the largest product of their modulus and the norms of their rows of B and columns of C."""

    title = "magnitude"
    allocation = "uniform"
    baseline = True

    def score(self, source: Scored) -> NDArray[Any]:
        """Magnitude of every state."""
        return magnitude_scores(source)


METHODS.register("magnitude", Magnitude())
