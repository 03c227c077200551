r"""A whole model with fewer states that acts like the whole one on what it sees.

Candidates (what stands for observability, how the budget is spread) are truncated, refitted layer by layer, their norms
paired and, if wanted, their decoder corrected; what is done to the best of them is in
:mod:`ssmreduce.recorded.finals`. What counts is the divergence of the logits from the whole model's on held-out,
unlabelled examples, or the relative squared error of its output signals (:mod:`ssmreduce.recorded.measures`); every
stage is kept only if it lowers that.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.network import Network, Parts
from ssmreduce.recorded.budget import curve_orders, divided, effect_curves, spread_evenly
from ssmreduce.recorded.finals import Finals, score_of
from ssmreduce.recorded.judge import Judge
from ssmreduce.recorded.measures import Measure
from ssmreduce.recorded.outcome import Candidate, Outcome, Stage
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.recording import Recording, Sample
from ssmreduce.recorded.selection import projects
from ssmreduce.recorded.stages import REFUSALS, refit_in_sequence, truncated
from theory.errors import ConvergenceError, InputError, OrderError, ToleranceError

Array = NDArray[Any]

Report = Callable[[int, int, str], None]


class Search:
    """The recipe on one network: what orders share is computed once.

    Parameters
    ----------
    network : Network
    recipe : Recipe, optional
    report : callable, optional
        Called as ``report(done, total, what)``: steps done and in all, as far as is known, and the step that starts.
    known : mutable mapping, optional
        Measured effects of layers, kept by the caller: a search that is given them again does not measure them again.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe | None = None,
        report: Report | None = None,
        known: MutableMapping[str, float] | None = None,
    ) -> None:
        self.network, self.recipe, self._report = (
            network,
            recipe or Recipe(),
            report or (lambda done, total, what: None),
        )
        count = self.recipe.recorded_of(network.count)
        self.known: MutableMapping[str, float] = {} if known is None else known
        self._done, self._total = 0, 0
        shuffled = np.random.default_rng(self.recipe.seed).permutation(count)
        cut = min(max(1, round(self.recipe.fit_fraction * count)), count - 1)
        self.held_out = np.sort(shuffled[cut:])
        self._judge = Judge(network, self.held_out)
        D = None if self.recipe.feedthrough else False
        self.recording = Recording(network, np.sort(shuffled[:cut]), self.recipe.seed, D)
        self.more = Sample(network, np.concatenate([self.recording.rows, np.arange(count, network.count)]))
        self._curves: dict[str, Any] = {}
        self.refused: dict[int, str] = {}

    @property
    def measure(self) -> Measure:
        """What distance is measured in, that of the network."""
        return self._judge.measure

    @property
    def wanted(self) -> Array:
        """What the whole model says of the held-out examples."""
        return self._judge.wanted

    @property
    def kinds(self) -> tuple[str, ...]:
        """What stands for observability; where states are selected in every layer it plays no part, and one will do."""
        return self.recipe.observability if projects(self.network) else ("selection",)

    def report(self, what: str) -> None:
        """Count a step."""
        self._report(self._done, max(self._total, self._done), what)
        self._done += 1

    def _plan(self) -> None:
        """Steps of the next reduction: curves that are not measured yet, candidates, finalists."""
        kinds, sizes = self.kinds, [layer.order for layer in self.network.parts.layers]
        fresh = sum(len(curve_orders(n)) for kind in kinds if kind not in self._curves for n in sizes)
        self._total = self._done + fresh + 2 * len(kinds) + self.finals([]).polishes
        self._total += bool(self.recipe.further) + self.recipe.together

    def judge(self, parts: Parts) -> float:
        """Divergence from the whole model on the held-out examples; infinite where logits are not finite."""
        return self._judge.distance(parts)

    # ------------------------------------------------------------------------------------------ candidates
    def curves(self, kind: str) -> Any:
        """Measured effects of every layer."""
        if kind not in self._curves:
            if kind in ("output", "mixture"):  # a network that is wrong ends here, not as a refused candidate
                _ = self.recording.gradients
            self._curves[kind] = effect_curves(self.recording, kind, self.known, self.report, self.refused)
        return self._curves[kind]

    def allocations(self, kind: str, budget: int) -> dict[str, tuple[int, ...]]:
        """Divisions of the budget that are tried."""
        sizes = [layer.order for layer in self.network.parts.layers]
        return {
            "measured": divided(self.curves(kind), sizes, budget, self.refused),
            "uniform": spread_evenly(sizes, budget),
        }

    def candidate(self, kind: str, orders: tuple[int, ...]) -> Parts:
        """Layers truncated to the orders."""
        parts = self.network.parts
        for index, order in enumerate(orders):
            parts = parts.with_layer(index, truncated(self.recording, index, kind, order))
        return parts

    def finals(self, stages: list[Stage]) -> Finals:
        """The last stages, which leave their notes in a list."""
        return Finals(self.recipe, self.recording, self.more, self._judge, self.report, stages)

    def reduce(self, budget: int) -> Outcome:
        """Return the best model with `budget` states found.

        A KeyboardInterrupt after the first candidate is judged gives the best so far, marked as interrupted.

        Raises
        ------
        OrderError
            The budget is less than one state a layer, or more than there are.
        ConvergenceError
            No candidate could be built.
        """
        sizes = [layer.order for layer in self.network.parts.layers]
        if not len(sizes) <= budget <= sum(sizes):
            least, most = len(sizes), sum(sizes)
            raise OrderError(f"the budget must lie between {least} and {most}, got {budget}", budget, most)
        self._plan()
        stages: list[Stage] = []
        found: list[Candidate] = []
        finals = self.finals(stages)
        interrupted = False
        try:
            self._candidates(budget, found, finals)
            finals.run(found)
        except KeyboardInterrupt:
            if not found:
                raise
            interrupted = True
        if not found:
            raise ConvergenceError("no candidate could be built; try another budget, or more examples", 0)
        best = min(found, key=score_of)
        return Outcome(
            parts=best.final, orders=tuple(layer.order for layer in best.final.layers),
            observability=best.kind, allocation=best.allocation, divergence=best.score,
            changed=self._judge.changed(best.final),
            measure=self.measure.name,
            stages=tuple(stages), candidates=tuple(item.told(self.measure.name) for item in found),
            interrupted=interrupted,
        )  # fmt: skip

    def _candidates(self, budget: int, found: list[Candidate], finals: Finals) -> None:
        """Build, refit and judge every candidate; what cannot be built falls out."""
        seen: set[Any] = set()
        for kind in self.kinds:
            for name, orders in self.allocations(kind, budget).items():
                if (kind, orders) in seen:
                    continue
                seen.add((kind, orders))
                detail = f"{kind}, {name} {orders}"
                self.report(f"candidate {detail}")
                try:
                    refitted = self._refitted(self.candidate(kind, orders), finals.stages, detail)
                except REFUSALS as refusal:
                    told = f"{detail}: {refusal}"
                    finals.stages.append(Stage(name="refused", detail=told, before=np.inf, after=np.inf, kept=False))
                    continue
                final, score = finals.finished(refitted, detail)
                found.append(Candidate(score=score, refitted=refitted, final=final, kind=kind, allocation=name))

    def _refitted(self, parts: Parts, stages: list[Stage], detail: str) -> Parts:
        """C and D fitted in sequence, if the judge likes it."""
        if not self.recipe.refit:
            return parts
        trial = refit_in_sequence(self.recording, parts)
        better, _ = self._judge.if_better(parts, self.judge(parts), trial, "refit", detail, stages)
        return better

    def smallest(self, most_changed: float) -> Outcome:
        """Return the model with the fewest states found that changes at most this part of the held-out predictions.

        Of output signals: whose relative squared error there is at most this (0.001 is 30 dB).

        Bisection over the budget: the part changed is taken to fall with the number of states.

        Raises
        ------
        ToleranceError
            Even one state less changes more.
        """
        if not 0 <= most_changed < 1:
            raise InputError(
                f"the part of the {self.measure.unit} that may change lies between 0 and 1, got {most_changed}"
            )
        low, high, best = len(self.network.parts.layers) - 1, self.network_states, None
        nearest = np.inf
        while high - low > 1:
            middle = (low + high) // 2
            found = self.reduce(middle)
            nearest = min(nearest, found.changed)
            if found.changed <= most_changed:
                high, best = middle, found
            else:
                low = middle
            if found.interrupted:
                break
        if best is None:
            raise ToleranceError(
                f"no smaller model found changes at most {most_changed:.3g} of the {self.measure.unit}; the best tried "
                f"changes {nearest:.3g}: allow more, or record more examples", most_changed, float(nearest),
            )  # fmt: skip
        return best

    @property
    def network_states(self) -> int:
        """Stored states of the whole model."""
        return sum(layer.order for layer in self.network.parts.layers)
