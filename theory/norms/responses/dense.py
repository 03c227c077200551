"""A dense system along the boundary: as modes with what they leave out, or by its resolvent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.norms.responses.modes import ModalSum, Perturbation
from theory.norms.responses.resolvent import Resolvent
from theory.systems.eigenvectors import diagonalized
from theory.systems.stability import coordinates
from theory.systems.system import StateSpace
from theory.systems.units import equilibrated, power_of_two

Array = NDArray[Any]


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


def resolvents(system: StateSpace) -> Iterator[tuple[Resolvent, float]]:
    """Yield the system in graded Schur coordinates (if small), then in its own; and what its norm was divided by."""
    poles = np.linalg.eigvals(equilibrated(system)[0])
    for form in coordinates(system):
        balance, scale = scales(form.B, form.C, system.D)
        yield (
            Resolvent(
                A=form.A,
                B=form.B / balance,
                C=form.C / (scale / balance),
                D=system.D / scale,
                A_error=form.A_error,
                B_error=form.B_error / balance,
                C_error=form.C_error / (scale / balance),
                poles=poles,
                discrete=system.is_discrete,
                # Schur coordinates are complex: their resolvent, which the proof of stability needs along the whole
                # boundary, is another one at the conjugate point
                real=system.is_real and not form.schur,
            ),
            scale,
        )


def scales(B: Array, C: Array, D: Array) -> tuple[float, float]:
    """Powers of two (for B, for the whole) that bring the system to size one."""
    b, c = float(np.abs(B).max(initial=0.0)), float(np.abs(C).max(initial=0.0))
    size = max(float(np.abs(D).max(initial=0.0)), b * c)
    return float(power_of_two(b)), float(power_of_two(size))
