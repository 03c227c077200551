"""The recipe of `ssmreduce.recorded`: what ``python -m lra reduce`` does."""

from __future__ import annotations

from dataclasses import dataclass

from lra.sweep.whole_models import WHOLE_MODELS, Reducer, WholeModel
from ssmreduce.network import Network, Parts
from ssmreduce.recorded.recipe import Recipe
from ssmreduce.recorded.search import Search


@dataclass(frozen=True, kw_only=True)
class Recorded(WholeModel):
    """From recorded inputs: candidates, refit, norms, decoder, Gauss-Newton, all at once, judged on held-out examples.

    Attributes
    ----------
    refit, norms, decoder : bool
        Which stages are tried.
    polish : int
        Gauss-Newton steps; 0 leaves them out.
    together : int
        Steps on all layers at once; 0 leaves them out.
    """

    refit: bool = True
    norms: bool = True
    decoder: bool = True
    polish: int = 8
    together: int = 5

    def reducer(self, network: Network, seed: int) -> Reducer:
        """Effects of the layers are measured once for all budgets."""
        chosen = {name: getattr(self, name) for name in ("refit", "norms", "decoder", "polish", "together")}
        search = Search(network, Recipe(**chosen, seed=seed))

        def reduce(budget: int) -> tuple[Parts, str]:
            outcome = search.reduce(budget)
            if outcome.interrupted:  # the best so far is no row of a table
                raise KeyboardInterrupt
            return outcome.parts, outcome.allocation

        return reduce


WHOLE_MODELS.register("recorded", Recorded())
