"""Certified errors of layers, several at a time: in processes of this machine, or wherever joblib is told to.

``with joblib.parallel_config(backend="dask"):`` around a sweep sends them to a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.parallel import spread
from ssmreduce.results import bracket_to_dict, relative, worst
from theory.errors import SSMReduceError
from theory.norms import error_norm, hinf_norm
from theory.norms.bracket import Bracket

RTOL = 1e-2
"""Relative width of the brackets: a figure needs no more."""

Pair = tuple[SSMLayer, SSMLayer]


class Certified:
    """Brackets of the errors of reduced layers, each computed once.

    Parameters
    ----------
    layers : sequence of SSMLayer
        The whole model's.
    jobs : int or None
        Processes; None for what ``joblib.parallel_config`` says, else one.
    """

    def __init__(self, layers: Sequence[SSMLayer], jobs: int | None = None) -> None:
        self.jobs = jobs
        self.norms = tuple(worst(hinf_norm(layer.system, rtol=RTOL)) for layer in layers)
        self._held: dict[Hashable, Bracket | str] = {}

    def prepare(self, wanted: Mapping[Hashable, Pair], report: Callable[[int, int], None]) -> None:
        """Compute what is not there yet."""
        missing = []
        for key, (whole, reduced) in wanted.items():
            if reduced is whole:
                self._held[key] = Bracket(0.0, 0.0, 0.0, "closed")
            elif key not in self._held:
                missing.append(key)
        if not missing:
            return
        pieces = [(wanted[key][0].system, wanted[key][1].system) for key in missing]
        for done, (number, bracket) in enumerate(spread(_bracket, pieces, self.jobs, "processes")):
            report(done, len(missing))
            self._held[missing[number]] = bracket

    def of(self, key: Hashable, index: int) -> dict[str, object]:
        """The error of a layer and the same over its norm, as plain numbers; or why there is none."""
        held = self._held[key]
        if isinstance(held, str):
            return {"error": None, "relative": None, "refused": held}
        share = relative(held, self.norms[index])
        return {"error": bracket_to_dict(held), "relative": bracket_to_dict(share)}


def _bracket(whole: object, reduced: object) -> Bracket | str:
    """The error of all channels together, without the evidence; or why it cannot be had in float64."""
    try:
        found = worst(error_norm(whole, reduced, rtol=RTOL))
    except SSMReduceError as refusal:
        return str(refusal)
    return Bracket(found.lower, found.upper, found.frequency, found.status)
