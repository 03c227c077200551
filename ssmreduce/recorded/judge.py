"""What decides: the distance from the whole model on examples that nothing was fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.network import Network, Parts, Pass
from ssmreduce.recorded.measures import measure_of
from ssmreduce.recorded.outcome import Stage
from ssmreduce.recorded.stages import run_logits

Array = NDArray[Any]


class Judge:
    """The held-out examples of a network, with what the whole model says of them.

    Parameters
    ----------
    network : Network
    rows : ndarray of int
        Examples that are not fitted.
    """

    def __init__(self, network: Network, rows: Array) -> None:
        self.network, self.rows, self.measure = network, rows, measure_of(network)
        self.wanted = run_logits(network, network.parts, rows)
        self._seen: list[tuple[Parts, Pass]] = []

    def distance(self, parts: Parts) -> float:
        """Return the distance from the whole model; infinite where logits are not finite."""
        logits = self.run(parts).logits.astype(float)
        return self.measure.distance(self.wanted, logits) if np.isfinite(logits).all() else float("inf")

    def changed(self, parts: Parts) -> float:
        """Return the part of the predictions, or of the outputs' energy, that is another one."""
        return self.measure.changed(self.wanted, self.run(parts).logits.astype(float))

    def run(self, parts: Parts) -> Pass:
        """Return the pass of these parts over the held-out examples; those of the last two parts are kept."""
        for known, found in self._seen:
            if known is parts:
                return found
        found = self.network.run(parts, self.rows)
        self._seen = [*self._seen[-1:], (parts, found)]
        return found

    def if_better(
        self, parts: Parts, score: float, trial: Parts, name: str, detail: str, stages: list[Stage]
    ) -> tuple[Parts, float]:
        """Return the trial and its distance, if that is less than `score`, else what there was; and note the stage."""
        after = self.distance(trial)
        kept = after < score
        stages.append(Stage(name=name, detail=detail, before=score, after=after, kept=kept))
        return (trial, after) if kept else (parts, score)
