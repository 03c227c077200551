"""LAST's criterion: as in the paper, and as the released code computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ssmreduce.methods.registry import METHODS
from ssmreduce.methods.scores import Scored, Variant, last_scores
from ssmreduce.methods.selection import Selection


@dataclass(frozen=True, kw_only=True)
class Last(Selection):
    """Keeps the poles with the largest LAST score.

    Attributes
    ----------
    variant : {"paper", "released"}
        :func:`ssmreduce.last_scores`; in one direction they differ in rounding only.
    """

    variant: Variant = "paper"

    @property
    def title(self) -> str:
        """The score, and whose."""
        return "LAST score" if self.variant == "paper" else "LAST score, released code"

    @property
    def summary(self) -> str:
        """Which of the two scores."""
        how = "as in the paper" if self.variant == "paper" else "as the released code computes it"
        return f"Keeps the poles with the largest LAST score {how}."

    @property
    def allocation(self) -> str:
        """LAST's global threshold, with the same variant."""
        return "last" if self.variant == "paper" else "last_released"

    def score(self, source: Scored) -> NDArray[Any]:
        """LAST's score of every state."""
        return last_scores(source, self.variant)


METHODS.register("last", Last())
METHODS.register("last_released", Last(variant="released"))
