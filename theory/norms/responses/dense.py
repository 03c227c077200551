"""A dense system along the boundary: as modes with what they leave out, or by its resolvent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.norms.bracket import Bracket
from theory.norms.responses.modes import ModalSum, Perturbation, scales
from theory.norms.responses.resolvent import Resolvent
from theory.norms.responses.response import Response
from theory.systems.eigenvectors import diagonalized
from theory.systems.graded_schur import Graded, graded
from theory.systems.stability import FEW_STATES, own_coordinates, refinements
from theory.systems.system import StateSpace, System
from theory.systems.units import equilibrated

Array = NDArray[Any]

KNOWN_BETTER = 1e-2
"""Relative width of a bracket from eigenvectors of a large system that float64 inverses do not make smaller."""


def modal_sum(system: StateSpace, *, steps: int = 3) -> ModalSum | None:
    """Return the modes of a dense system with a bound of what they leave out; ``None`` if it cannot be diagonalised.

    `steps` Newton steps refine the eigenvectors first; each costs about thirty products of matrices.
    """
    modes = diagonalized(system, steps=steps)
    if modes is None:
        return None
    return ModalSum(
        poles=modes.poles,
        low=modes.low,
        margin=modes.margin,
        B=modes.B,
        C=modes.C,
        D=system.D,
        reverse=np.zeros(system.n, bool),
        direct=np.zeros(system.n, bool),
        discrete=system.is_discrete,
        real=system.is_real,
        perturbation=Perturbation(F=modes.F, b_error=modes.b_error, c_error=modes.c_error),
    )


def resolvent(system: StateSpace, form: Graded) -> tuple[Resolvent, float]:
    """Return the system in these coordinates at size one, and the power of two that it was divided by."""
    balance, scale = scales(form.B, form.C, system.D)
    return (
        Resolvent(
            A=form.A,
            B=form.B / balance,
            C=form.C / (scale / balance),
            D=system.D / scale,
            A_error=form.A_error,
            B_error=form.B_error / balance,
            C_error=form.C_error / (scale / balance),
            poles=np.linalg.eigvals(equilibrated(system)[0]),
            discrete=system.is_discrete,
            # Schur coordinates are complex: their resolvent, which the proof of stability needs along the whole
            # boundary, is another one at the conjugate point
            real=system.is_real and not form.schur,
            real_system=system.is_real,
        ),
        scale,
    )


def constant(D: Array, *, discrete: bool) -> ModalSum:
    """A modal sum without modes."""
    none, (p, m) = np.zeros(0), D.shape
    return ModalSum(
        poles=none.astype(complex),
        margin=none,
        B=np.zeros((0, m)),
        C=np.zeros((p, 0)),
        D=D,
        reverse=none.astype(bool),
        direct=none.astype(bool),
        discrete=discrete,
        real=not np.any(np.imag(D)),
    )


class StaticGain:
    """A constant matrix: nothing depends on the frequency.

    Applies: a dense system without states.
    Cost: none.
    """

    name = "constant"

    def applies(self, system: System, known: Bracket, *, stable: bool) -> bool:
        """Whether there is no state."""
        return isinstance(system, StateSpace) and system.n == 0

    def write(self, system: System) -> Response:
        """Keep D alone."""
        form, scale = constant(system.D, discrete=system.is_discrete).normalized()
        return Response(name=self.name, form=form, scale=scale)


@dataclass(frozen=True)
class Eigenvectors:
    """A sum of modes in computed eigenvectors, and a bound, entry by entry, of what these leave out.

    Applies: a dense system; at once with refined eigenvectors up to 64 states, else first without, which is enough most
    often.
    Cost: O(n^3), some thirty times for each of three Newton steps; then that of a diagonal system.
    """

    steps: int
    name = "eigenvectors"

    def applies(self, system: System, known: Bracket, *, stable: bool) -> bool:
        """Whether it is a dense system, large enough where there are no steps."""
        return isinstance(system, StateSpace) and system.n > 0 and self.steps in refinements(system.n)

    def write(self, system: System) -> Response | None:
        """Diagonalize; a system whose inputs reach nothing keeps the poles for the proof of stability."""
        assert isinstance(system, StateSpace)
        modes = modal_sum(system, steps=self.steps)
        if modes is None:
            return None
        silent = not (np.any(system.B) and np.any(system.C))
        form, scale = (constant(system.D, discrete=system.is_discrete) if silent else modes).normalized()
        last = self.steps == refinements(system.n)[-1]
        return Response(name=self.name, form=form, scale=scale, spectrum=modes, replaces=True, last=last)


class GradedSchur:
    """The resolvent in Schur coordinates graded by powers of two, where it is as small as the poles allow.

    Applies: a dense system of up to 64 states that eigenvectors left open: repeated and nearly repeated poles.
    Cost: O(n^3) a sample.
    """

    name = "graded Schur"

    def applies(self, system: System, known: Bracket, *, stable: bool) -> bool:
        """Whether inverses are cheap."""
        return isinstance(system, StateSpace) and system.n <= FEW_STATES

    def write(self, system: System) -> Response | None:
        """Change coordinates, if that can be proved to help."""
        assert isinstance(system, StateSpace)
        form = graded(system)
        if form is None:
            return None
        boundary, scale = resolvent(system, form)
        return Response(name=self.name, form=boundary, scale=scale)


class OwnCoordinates:
    """The resolvent of the matrix as it is, inverted and verified at every sample.

    Applies: a dense system that everything before left open by more than float64 inverses would.
    Cost: O(n^3) a sample.
    """

    name = "own coordinates"

    def applies(self, system: System, known: Bracket, *, stable: bool) -> bool:
        """Whether inverses may know more."""
        if not isinstance(system, StateSpace):
            return False
        # float64 inverses, which cost n^3 a sample, do not know more
        return not (stable and system.n > FEW_STATES and known.width < KNOWN_BETTER)

    def write(self, system: System) -> Response:
        """Balance the states by powers of two."""
        assert isinstance(system, StateSpace)
        boundary, scale = resolvent(system, own_coordinates(system))
        return Response(name=self.name, form=boundary, scale=scale)
