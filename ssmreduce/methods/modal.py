"""Modal truncation by exact gains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ssmreduce.methods.registry import METHODS
from ssmreduce.methods.scores import Scored, hinf_scores
from ssmreduce.methods.selection import Selection


@dataclass(frozen=True, kw_only=True)
class Modal(Selection):
    """Keeps the poles with the largest exact H-infinity gain."""

    title = "modal, exact gain"
    allocation = "time_limited"

    def score(self, source: Scored) -> NDArray[Any]:
        """Exact gain of every state alone."""
        return hinf_scores(source)


METHODS.register("modal", Modal())
