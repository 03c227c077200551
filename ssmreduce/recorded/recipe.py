r"""A whole model with fewer states that acts like the whole one on what it sees.

Candidates (what stands for observability, how the budget is spread) are truncated, refitted layer by layer, their norms
paired and, if wanted, their decoder corrected; the best few are polished by Gauss-Newton steps. What counts is the
divergence of the logits from the whole model's on held-out, unlabelled examples; every stage is kept only if it lowers
that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.network import Network, Parts, changed, divergence
from ssmreduce.recorded.budget import TEMPERATURE, divide, effect_curves, interpolated
from ssmreduce.recorded.recording import Recording
from ssmreduce.recorded.stages import (
    DECODER_RIDGES,
    REFUSALS,
    fit_decoder,
    pair_norms,
    refit_in_sequence,
    run_logits,
    truncated,
)
from theory.errors import ConvergenceError, InputError, OrderError

Array = NDArray[Any]

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The choices of a reduction from recorded inputs.

    Attributes
    ----------
    observability : tuple of str
        Kinds that are tried, see :data:`ssmreduce.recorded.recording.OBSERVABILITIES`.
    refit, norms, decoder : bool
        Whether C and D are fitted layer by layer, batch norms paired, the decoder corrected.
    polish : int
        Gauss-Newton steps on poles and B; 0 leaves them out.
    finalists : int
        Candidates that are polished.
    fit_fraction : float
        Part of the examples that is fitted; the others judge.
    seed : int
        Of the split of the examples and the random directions.
    """

    observability: tuple[str, ...] = ("exact", "output", "mixture")
    refit: bool = True
    norms: bool = True
    decoder: bool = True
    polish: int = 8
    finalists: int = 3
    fit_fraction: float = 0.5
    seed: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """One step of the recipe: its name, what it was applied to, and the judge's divergence before and after."""

    name: str
    detail: str
    before: float
    after: float
    kept: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """A reduced model's parts, how they came about, and how far they are from the whole model on held-out examples."""

    parts: Parts
    orders: tuple[int, ...]
    observability: str
    allocation: str
    divergence: float
    changed: float
    stages: tuple[Stage, ...] = ()
    candidates: tuple[dict[str, Any], ...] = field(default=())


class Search:
    """The recipe on one network: what orders share is computed once."""

    def __init__(self, network: Network, recipe: Recipe | None = None, report: Report | None = None) -> None:
        self.network, self.recipe, self.report = network, recipe or Recipe(), report or (lambda text: None)
        if network.count < 4:
            raise InputError(f"{network.count} examples cannot be fitted and judged: record at least 4, better 400")
        shuffled = np.random.default_rng(self.recipe.seed).permutation(network.count)
        cut = min(max(1, round(self.recipe.fit_fraction * network.count)), network.count - 1)
        self.recording = Recording(network, np.sort(shuffled[:cut]), self.recipe.seed)
        self.held_out = np.sort(shuffled[cut:])
        self.wanted = run_logits(network, network.parts, self.held_out)
        self._curves: dict[str, Any] = {}

    # ------------------------------------------------------------------------------------------ judging
    def judge(self, parts: Parts) -> float:
        """Divergence from the whole model on the held-out examples; infinite where logits are not finite."""
        logits = run_logits(self.network, parts, self.held_out)
        return divergence(self.wanted, logits) if np.isfinite(logits).all() else float("inf")

    def _if_better(
        self, parts: Parts, score: float, trial: Parts, name: str, detail: str, stages: list[Stage]
    ) -> tuple[Parts, float]:
        after = self.judge(trial)
        kept = after < score
        stages.append(Stage(name=name, detail=detail, before=score, after=after, kept=kept))
        return (trial, after) if kept else (parts, score)

    # ------------------------------------------------------------------------------------------ candidates
    def curves(self, kind: str) -> Any:
        """Measured effects of every layer."""
        if kind not in self._curves:
            self._curves[kind] = effect_curves(self.recording, kind, self.report)
        return self._curves[kind]

    def allocations(self, kind: str, budget: int) -> dict[str, tuple[int, ...]]:
        """Divisions of the budget that are tried."""
        sizes = [layer.order for layer in self.network.parts.layers]
        costs = [
            interpolated(orders, effects, n) for (orders, effects), n in zip(self.curves(kind), sizes, strict=True)
        ]
        return {"measured": divide(costs, budget), "uniform": spread_evenly(sizes, budget)}

    def candidate(self, kind: str, orders: tuple[int, ...]) -> Parts:
        """Layers truncated to the orders."""
        parts = self.network.parts
        for index, order in enumerate(orders):
            parts = parts.with_layer(index, truncated(self.recording, index, kind, order))
        return parts

    def finished(self, parts: Parts, stages: list[Stage], detail: str) -> tuple[Parts, float]:
        """Norms, then decoder, each kept only if the judge likes it."""
        score = self.judge(parts)
        if self.recipe.norms and parts.norms:
            parts, score = self._if_better(parts, score, pair_norms(self.recording, parts), "norms", detail, stages)
        if self.recipe.decoder and parts.decoder is not None:
            original = parts
            for ridge in DECODER_RIDGES:
                trial = fit_decoder(self.recording, original, ridge)
                parts, score = self._if_better(parts, score, trial, "decoder", f"{detail}, ridge {ridge:g}", stages)
        return parts, score

    def refitted(self, parts: Parts, stages: list[Stage], detail: str) -> Parts:
        """C and D fitted in sequence, if the judge likes it."""
        if not self.recipe.refit:
            return parts
        trial = refit_in_sequence(self.recording, parts)
        better, _ = self._if_better(parts, self.judge(parts), trial, "refit", detail, stages)
        return better

    def reduce(self, budget: int) -> Outcome:
        """Return the best model with `budget` states found."""
        sizes = [layer.order for layer in self.network.parts.layers]
        if not len(sizes) <= budget <= sum(sizes):
            least, most = len(sizes), sum(sizes)
            raise OrderError(f"the budget must lie between {least} and {most}, got {budget}", budget, most)
        stages: list[Stage] = []
        found: list[tuple[float, Parts, Parts, str, str]] = []
        seen: set[Any] = set()
        for kind in self.recipe.observability:
            for name, orders in self.allocations(kind, budget).items():
                if (kind, orders) in seen:
                    continue
                seen.add((kind, orders))
                detail = f"{kind}, {name} {orders}"
                self.report(f"candidate {detail}")
                try:
                    refitted = self.refitted(self.candidate(kind, orders), stages, detail)
                except REFUSALS as refusal:
                    self.report(f"candidate {detail} refused: {refusal}")
                    continue
                final, score = self.finished(refitted, stages, detail)
                found.append((score, refitted, final, kind, name))
        if not found:
            raise ConvergenceError("no candidate could be built; try another budget, or more examples", 0)
        found.sort(key=lambda item: item[0])
        best = found[0]
        for item in found[: self.recipe.finalists if self.recipe.polish else 0]:
            score, refitted, _, kind, name = item
            detail = f"{kind}, {name} {tuple(layer.order for layer in refitted.layers)}"
            self.report(f"Gauss-Newton: {detail}")
            polished = refit_in_sequence(self.recording, refitted, iterations=self.recipe.polish)
            final, judged = self.finished(polished, stages, detail)
            # judged with norms and decoder: a step that raises the divergence before them may lower it after
            stages.append(Stage(name="Gauss-Newton", detail=detail, before=score, after=judged, kept=judged < score))
            if judged < best[0]:
                best = (judged, polished, final, kind, name)
        score, _, final, kind, name = best
        return Outcome(
            parts=final, orders=tuple(layer.order for layer in final.layers), observability=kind, allocation=name,
            divergence=score, changed=changed(self.wanted, run_logits(self.network, final, self.held_out)),
            stages=tuple(stages),
            candidates=tuple(
                {"observability": kind, "allocation": name, "orders": [layer.order for layer in refitted.layers],
                 "divergence": score}
                for score, refitted, _, kind, name in found
            ),
        )  # fmt: skip


def spread_evenly(sizes: list[int], budget: int) -> tuple[int, ...]:
    """The same part of every layer, at least one state each, exactly `budget` together."""
    share = np.array(sizes, dtype=float) * budget / sum(sizes)
    orders = np.maximum(1, np.floor(share).astype(int))
    while orders.sum() > budget:
        orders[int(np.argmax(np.where(orders > 1, orders - share, -np.inf)))] -= 1
    while orders.sum() < budget:
        orders[int(np.argmax(np.where(orders < sizes, share - orders, -np.inf)))] += 1
    return tuple(int(order) for order in orders)


__all__ = ["TEMPERATURE", "Outcome", "Recipe", "Search", "Stage", "spread_evenly"]
