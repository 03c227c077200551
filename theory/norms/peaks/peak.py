"""The largest gain that was seen: a lower end before it is rounded down, and what proofs aim at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.systems.boundary import CIRCLE, INFINITY

Array = NDArray[Any]

SHARE = 0.9
"""Part of `rtol` that proofs aim at; the rest is for what the witness loses when it is evaluated again."""


class Peak:
    """The largest gain found so far, `best`, at `where` on `chart`, for the input `vector` if that is known."""

    def __init__(self, rtol: float, *, best: Any = 0.0, chart: str = CIRCLE, where: Any = 0.0) -> None:
        self.rtol, self.best, self.chart, self.where = rtol, best, chart, where
        self.vector: Array | None = None

    @property
    def level(self) -> Any:
        """What is proved: a little above the largest gain that was found."""
        return self.best * (1.0 + SHARE * self.rtol)

    @property
    def frequency(self) -> Any:
        """Where it is, in rad/sample or rad/s."""
        if np.ndim(self.where) or self.chart != INFINITY:
            return self.where
        return float("inf") if self.where == 0.0 else float(1.0 / self.where)
