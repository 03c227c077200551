"""A diagonal system along the boundary: its modes are known as they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import row_norms
from theory.norms.bracket import Bracket
from theory.norms.responses.modes import ModalSum
from theory.norms.responses.response import Response
from theory.norms.responses.scalars import scalars_of
from theory.systems.pairs import both_halves
from theory.systems.system import DiagonalStateSpace, System
from theory.systems.units import power_of_two

Array = NDArray[Any]


def diagonal_modes(system: DiagonalStateSpace) -> ModalSum:
    """Write out the modes of one diagonal system: conjugate halves, the reverse direction, the delays."""
    poles, B, C, reverse = system.poles, system.B, system.C, system.C_reverse
    n = poles.size
    # with D = 0 one factor z does not change the gain: delay 0 is delay 1
    direct = np.full(n, system.delay == 0 and (reverse is not None or bool(np.any(system.D))))
    backwards = np.zeros(n, bool)
    if reverse is not None:
        poles, B, C = np.concatenate([poles, poles]), np.concatenate([B, B]), np.concatenate([C, reverse], axis=1)
        direct = np.concatenate([direct, np.full(n, system.delay_reverse == 0)])
        backwards = np.concatenate([backwards, np.ones(n, bool)])
    if system.conjugate_pairs:  # all of the second half, so that the sum is known to be real
        poles, B, C = (both_halves(x, axis) for x, axis in ((poles, 0), (B, 0), (C, 1)))
        direct, backwards = np.tile(direct, 2), np.tile(backwards, 2)
    real = system.conjugate_pairs or not any(np.any(np.imag(array)) for array in (poles, B, C, system.D))
    active = np.any(B != 0, axis=1) & np.any(C != 0, axis=0)
    poles, B, C = poles[active], B[active], C[:, active]
    balance = power_of_two(np.sqrt(row_norms(B)) / np.sqrt(row_norms(C, axis=0)))
    margin = DiagonalStateSpace(poles, B, C, dt=system.dt, conjugate_pairs=False).margin
    return ModalSum(
        poles=poles,
        margin=margin,
        B=B / balance[:, None],
        C=C * balance,
        D=system.D,
        reverse=backwards[active],
        direct=direct[active],
        discrete=system.is_discrete,
        real=real,
    )


class Modes:
    """The sum of all modes, each in closed form: conjugate halves, both directions and the delays written out.

    Applies: one diagonal system.
    Cost: O(n (p + m)) a sample, O(n p m) where singular values are taken.
    """

    name = "modes"

    def applies(self, system: System, known: Bracket, *, stable: bool) -> bool:
        """Whether it is one diagonal system."""
        return isinstance(system, DiagonalStateSpace) and not system.batch_shape

    def write(self, system: System) -> Response:
        """Write out the modes, at size one."""
        assert isinstance(system, DiagonalStateSpace)
        form, scale = diagonal_modes(system).normalized()
        return Response(name=self.name, form=form, scale=scale)


class ScalarSums:
    """Scalar systems, all of a batch as one array: a sum over poles for each.

    Applies: a batch of stable diagonal systems with one input and one output (S4D).
    Cost: O(n) a sample and channel.
    """

    name = "scalar sums"

    def applies(self, system: System, known: Bracket, *, stable: bool) -> bool:
        """Whether it is a batch; the batches that come here have one input and one output."""
        return isinstance(system, DiagonalStateSpace) and bool(system.batch_shape)

    def write(self, system: System) -> Response:
        """Write the sums, scaled by a power of two each."""
        assert isinstance(system, DiagonalStateSpace)
        return Response(name=self.name, form=scalars_of(system))
