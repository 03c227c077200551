"""Reduction in H-infinity, alone and together with H2."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ssmreduce.methods.h2 import Descent
from ssmreduce.methods.registry import METHODS
from theory.errors import InputError
from theory.norms import error_norm
from theory.reduction.balancing import Truncation
from theory.reduction.hinf_descent import hinf_descent
from theory.systems.system import DiagonalStateSpace


@dataclass(frozen=True, kw_only=True)
class Hinf(Descent):
    """Smallest worst-case error that a descent from balanced truncation finds; certified, never more than its start's.

    :func:`theory.reduction.hinf_descent.hinf_descent`. It raises the error everywhere up to the level of the peak:
    look at the H2 error beside it.

    Attributes
    ----------
    steps : int
        At most, in each of four blocks, in every channel.
    """

    steps: int = 40

    title = "H-infinity descent"
    guarantee = "error certified, and never more than that of balanced truncation (before rounding of what is stored)"

    @property
    def _energy(self) -> float:
        return 0.0

    def descended(self, system: DiagonalStateSpace, start: Truncation) -> Truncation:
        """Descend on the peaks of the error."""
        assert isinstance(start.system, DiagonalStateSpace)
        reduced, bound = hinf_descent(system, start.system, error_norm, steps=self.steps, energy=self._energy)
        if reduced is start.system:
            return replace(start, status=f"{start.status}; the descent found nothing certainly better")
        return replace(start, system=reduced, bound=bound, status=f"{self.title} from {start.status}", kept=None)


@dataclass(frozen=True, kw_only=True)
class Mixed(Hinf):
    """Better than balanced truncation in H-infinity and in H2 at once, where a descent on both finds that.

    :func:`theory.reduction.hinf_descent.hinf_descent`.

    Attributes
    ----------
    steps : int
        At most, in each of four blocks, in every channel.
    energy : float
        Weight of the H2 error against the worst-case error, between 0 and 1.
    """

    energy: float = 0.5

    title = "H-infinity and H2 descent"
    guarantee = (
        "neither the certified error nor the H2 error more than that of balanced truncation (before rounding of what "
        "is stored)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.energy < 1:
            raise InputError(f"energy is a weight between 0 and 1, got {self.energy}; 'h2' and 'hinf' are the ends")

    @property
    def _energy(self) -> float:
        return self.energy


METHODS.register("hinf", Hinf())
METHODS.register("mixed", Mixed())
