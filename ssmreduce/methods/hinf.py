"""Reduction in H-infinity, alone and together with H2."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ssmreduce.methods.h2 import Descent, not_improved
from ssmreduce.methods.registry import METHODS, shared
from theory.errors import InputError
from theory.norms import error_norm
from theory.reduction.balancing import Truncation
from theory.reduction.dense_descent import better_in_h2, better_in_hinf, through_modes
from theory.reduction.hankel_norm import hankel_norm_approximation
from theory.reduction.hinf_descent import hinf_descent
from theory.systems.system import DiagonalStateSpace, StateSpace


@dataclass(frozen=True, kw_only=True)
class Hinf(Descent):
    """Smallest worst-case error that a descent finds; certified, never more than that of balanced truncation.

    :func:`theory.reduction.hinf_descent.hinf_descent`, from the Hankel-norm approximation. It raises the
    error everywhere up to the level of the peak: look at the H2 error beside it.

    Attributes
    ----------
    steps : int
        At most, in each of seven blocks, in every channel.
    """

    steps: int = 40

    title = "H-infinity descent"
    guarantee = "error certified, and never more than that of balanced truncation (before rounding of what is stored)"

    @property
    def _energy(self) -> float:
        return 0.0

    def _origin(self, system: DiagonalStateSpace, start: DiagonalStateSpace) -> DiagonalStateSpace:
        """The Hankel-norm approximation, if it has the order of `start`: descents from there end lower."""
        found = hankel_norm_approximation(system, start.n, balancing=shared(system)).system
        assert isinstance(found, DiagonalStateSpace)
        return found if found.n == start.n else start

    def descended(self, system: DiagonalStateSpace, start: Truncation) -> Truncation:
        """Descend on the peaks of the error."""
        assert isinstance(start.system, DiagonalStateSpace)
        origin = self._origin(system, start.system)
        words = "" if origin is start.system else " from the Hankel-norm approximation"
        reduced, bound = hinf_descent(
            system, start.system, error_norm, steps=self.steps, energy=self._energy, origin=origin
        )
        if reduced is start.system:
            return not_improved(start)
        status = f"{self.title}{words}, compared with {start.status}"
        return replace(start, system=reduced, bound=bound, status=status, kept=None)

    def descended_dense(self, system: StateSpace, start: Truncation) -> Truncation:
        """Descend on the peaks; what is compared are the errors of the dense systems."""
        first = start.system
        assert isinstance(first, StateSpace)

        def descend(modes: DiagonalStateSpace, small: DiagonalStateSpace) -> DiagonalStateSpace:
            return hinf_descent(modes, small, error_norm, steps=self.steps, energy=self._energy, stay_real=True)[0]

        reduced = through_modes(system, first, descend)
        better, upper = (False, 0.0) if reduced is first else better_in_hinf(system, reduced, first, error_norm)
        if not better or (self._energy > 0 and not better_in_h2(system, reduced, first)):
            return not_improved(start)
        status = f"{self.title} through the modes, compared with {start.status}"
        return replace(start, system=reduced, bound=upper, status=status, kept=None)


@dataclass(frozen=True, kw_only=True)
class Mixed(Hinf):
    """Better than balanced truncation in H-infinity and in H2 at once, where a descent on both finds that.

    :func:`theory.reduction.hinf_descent.hinf_descent`.

    Attributes
    ----------
    steps : int
        At most, in each of seven blocks, in every channel.
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

    def _origin(self, system: DiagonalStateSpace, start: DiagonalStateSpace) -> DiagonalStateSpace:
        return start


METHODS.register("hinf", Hinf())
METHODS.register("mixed", Mixed())
