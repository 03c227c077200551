"""What is done to the best candidates: Gauss-Newton in each layer, all layers at once, norms and decoder on more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ssmreduce.network import Parts
from ssmreduce.recorded.finishing import finished
from ssmreduce.recorded.judge import Judge
from ssmreduce.recorded.outcome import Candidate, Stage
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.recording import Recording, Sample
from ssmreduce.recorded.selection import projects
from ssmreduce.recorded.stages import refit_in_sequence
from ssmreduce.recorded.together import Steps
from theory.errors import InputError


class Finals:
    """The last stages of a recipe; each leaves one more candidate, and a note of what it gained.

    Parameters
    ----------
    recipe : Recipe
    recording : Recording
        The examples that are fitted.
    more : Sample
        These and the further ones.
    judge : Judge
    report : callable
        Told what starts.
    stages : list of Stage
        Where notes go.
    """

    def __init__(
        self,
        recipe: Recipe,
        recording: Recording,
        more: Sample,
        judge: Judge,
        report: Callable[[str], None],
        stages: list[Stage],
    ) -> None:
        self.recipe, self.recording, self.more = recipe, recording, more
        self.judge, self.report, self.stages = judge, report, stages

    def run(self, found: list[Candidate]) -> None:
        """All of them, from the best of the candidates; what they give is appended."""
        for item in sorted(found, key=score_of)[: self.polishes]:
            found.append(self.polished(item))
        if found:
            self.together(found)
        if found and self.recipe.further and (self.recipe.norms or self.recipe.decoder):
            found.append(self.on_more(min(found, key=score_of)))

    @property
    def polishes(self) -> int:
        """How many candidates are polished: none where poles and B stay."""
        return self.recipe.finalists if self.recipe.polish and projects(self.judge.network) else 0

    def finished(self, parts: Parts, detail: str) -> tuple[Parts, float]:
        """Norms, then decoder, fitted on the recording; each if the judge likes it."""
        return self._finished(self.recording, parts, detail, self.stages)

    def _finished(self, sample: Sample, parts: Parts, detail: str, stages: list[Stage]) -> tuple[Parts, float]:
        wanted = {"norms": self.recipe.norms, "decoder": self.recipe.decoder}
        return finished(self.judge, sample, parts, stages, detail, **wanted)

    def polished(self, item: Candidate) -> Candidate:
        """Gauss-Newton steps, judged with norms and decoder: what raises the divergence before may lower it after."""
        self.report(f"Gauss-Newton: {item.detail}")
        polished = refit_in_sequence(self.recording, item.refitted, iterations=self.recipe.polish)
        final, score = self.finished(polished, item.detail)
        self._note("Gauss-Newton", item, score)
        return replace(item, score=score, refitted=polished, final=final, polished=True)

    def together(self, found: list[Candidate]) -> None:
        """All layers at once, from the best candidate; each step that the judge likes is one more.

        One that it does not like is the last, unless the next sees other examples: then the second in a row is.
        """
        item = min(found, key=score_of)
        if not self.recipe.together:
            return
        try:
            seen, recipe = self.recording.whole, self.recipe
            steps = Steps(self.judge.network, self.more, seen, recipe.seed, recipe.feedthrough, recipe.polish > 0)
            missed = False
            for _ in range(self.recipe.together):
                self.report(f"all layers at once: {item.detail}")
                score, parts = steps.best(item.final, self.judge.distance)
                if self._note("all at once", item, score):
                    item, missed = replace(item, score=score, refitted=parts, final=parts), False
                    found.append(item)
                elif missed or not steps.turns.others:
                    return
                else:
                    missed = True
        except InputError as refused:
            told = f"{item.detail}: all layers at once: {refused}"
            self.stages.append(Stage(name="refused", detail=told, before=item.score, after=np.inf, kept=False))

    def on_more(self, item: Candidate) -> Candidate:
        """Norms and decoder fitted again on the fitted examples and the further ones."""
        self.report(f"norms and decoder on {len(self.more.rows)} examples")
        tried: list[Stage] = []
        final, score = self._finished(self.more, item.refitted, item.detail, tried)
        kept = (f"{one.name}{one.detail.removeprefix(item.detail)}" for one in tried if one.kept)
        self._note("further", item, score, "; ".join([item.detail, *kept]))
        return replace(item, score=score, final=final)

    def _note(self, name: str, item: Candidate, score: float, detail: str | None = None) -> bool:
        """Note the stage; whether it lowered the distance."""
        kept = score < item.score
        self.stages.append(Stage(name=name, detail=detail or item.detail, before=item.score, after=score, kept=kept))
        return kept


def score_of(item: Candidate) -> float:
    """What candidates are ranked by."""
    return item.score
