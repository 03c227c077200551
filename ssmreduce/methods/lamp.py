"""LAMP's criterion, with a state as its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ssmreduce.methods.registry import METHODS
from ssmreduce.methods.scores import Scored, lamp_scores
from ssmreduce.methods.selection import Selection


@dataclass(frozen=True, kw_only=True)
class Lamp(Selection):
    """Keeps the poles with the largest LAMP score: squared magnitude over that of all larger ones."""

    title = "LAMP score"
    allocation = "lamp"
    baseline = True

    def score(self, source: Scored) -> NDArray[Any]:
        """Squared magnitude, prefix-normalised."""
        return lamp_scores(source)


METHODS.register("lamp", Lamp())
