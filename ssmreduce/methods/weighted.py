"""Frequency-weighted balanced truncation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ssmreduce.methods.frequency_limited import AFTERWARDS
from ssmreduce.methods.registry import METHODS, Method, Source, shared, system_of
from theory.errors import InputError
from theory.gramians.weighted import weighted_gramians
from theory.gramians.weights import checked_weight, fitted_weight
from theory.reduction.balancing import Truncation
from theory.reduction.dense_pairs import truncate_by_pair
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Weighted(Method):
    r"""Keeps what signals of a given spectrum reach, or what an output filter lets through, to make V (G - Gr) W small.

    Enns' method: :func:`theory.gramians.weighted.weighted_gramians`.

    Attributes
    ----------
    input, output : StateSpace or (edges, values), optional
        The weights W and V, stable systems in the layer's time base, or the spectral densities :math:`WW^*` and
        :math:`V^*V` of every channel, ``values[k]`` from ``edges[k]`` to ``edges[k + 1]``, zero elsewhere. A weight of
        one input and one output stands for every channel. One of the two is needed; with one the result is stable by
        proof, with both it is checked, and refused where it is not stable.
    """

    input: Any = None
    output: Any = None

    title = "frequency-weighted balanced truncation"
    rank = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in ("input", "output"):
            object.__setattr__(self, side, checked_weight(getattr(self, side)))

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]
        """A weight, as long as it has none."""
        return ("weight",) if self.input is None and self.output is None else ()

    @property
    def guarantee(self) -> str:
        """Stable by proof, unless both sides are weighted."""
        both = self.input is not None and self.output is not None
        return f"{'checked to be stable' if both else 'stable'}; {AFTERWARDS}"

    def applies(self, source: Source) -> None:
        """Weights that fit the system."""
        if self.requires:
            raise InputError(
                f"the method {self.name!r} needs a weight, input= or output=, a system or a spectral density in "
                'rad/sample (rad/s in continuous time): method="weighted(input=((0, 0.5, 3.14), (1, 0.1)))", '
                "or Weighted(input=StateSpace(...))"
            )
        for side in ("input", "output"):
            fitted_weight(getattr(self, side), system_of(source), side)

    def truncate(self, source: Source, order: int, *_: Any, **data: Any) -> Truncation:
        """Truncate the pair of Gramians, one or both of them weighted."""
        system = system_of(source)

        def pair(modes: DiagonalStateSpace) -> tuple[Array, Array | None]:
            P, Q = weighted_gramians(modes, self.input, self.output)
            return P, None if self.output is None else Q

        return truncate_by_pair(system, order, pair, shared(system))


METHODS.register("weighted", Weighted())
