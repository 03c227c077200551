"""What a reduction from recorded inputs found, as values: its stages, its candidates, the reduced model's parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Parts
from theory.reduction.a_posteriori import error_bound


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """One step of the recipe: its name, what it was applied to, and the judge's measure before and after."""

    name: str
    detail: str
    before: float
    after: float
    kept: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """A reduced model in the search: after the refit, and with norms and decoder; its divergence."""

    score: float
    refitted: Parts
    final: Parts
    kind: str
    allocation: str
    polished: bool = False

    @property
    def detail(self) -> str:
        """Which one it is, for notes: what stands for observability, how the states are divided."""
        return f"{self.kind}, {self.allocation} {tuple(layer.order for layer in self.refitted.layers)}"

    def told(self, measure: str) -> dict[str, Any]:
        """Plain values, for a record; the score under the measure's name."""
        orders = [layer.order for layer in self.final.layers]
        return {
            "observability": self.kind, "allocation": self.allocation, "orders": orders, "polished": self.polished,
            measure: self.score,
        }  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """A reduced model's parts, how they came about, and how far they are from the whole model on held-out examples.

    ``divergence`` is that distance in the network's ``measure``: the divergence of the logits, or the relative squared
    error of output signals. ``changed`` is the part of the predictions, or of the outputs' energy, that is another one.
    """

    parts: Parts
    orders: tuple[int, ...]
    observability: str
    allocation: str
    divergence: float
    changed: float
    measure: str = "divergence"
    stages: tuple[Stage, ...] = ()
    candidates: tuple[dict[str, Any], ...] = field(default=())
    interrupted: bool = False

    def record(self, wholes: Sequence[SSMLayer]) -> dict[str, Any]:
        """Plain values for a file: what was done, and the certified error of every layer beside what was measured."""
        return {
            "method": "recorded",
            "allocation": self.allocation,
            "observability": self.observability,
            "orders_before": [layer.order for layer in wholes],
            "orders": list(self.orders),
            "bounds": [_bound(whole, small) for whole, small in zip(wholes, self.parts.layers, strict=True)],
            **self._told(),
            "interrupted": self.interrupted,
            "stages": [asdict(stage) for stage in self.stages if stage.kept],
            "candidates": list(self.candidates),
        }

    def _told(self) -> dict[str, float]:
        """The distance under the measure's name."""
        if self.measure != "divergence":
            return {self.measure: self.divergence}
        return {"divergence": self.divergence, "changed_predictions": self.changed}


def _bound(whole: SSMLayer, small: SSMLayer) -> float:
    """Bound of a layer's error for all inputs, the largest over the channels of S4D."""
    return 0.0 if small is whole else float(np.max(error_bound(whole.system, small.system)))
