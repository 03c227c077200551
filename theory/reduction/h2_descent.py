r"""Reduction in H2: descent on the energy of the error, whose gradient is a closed form in poles and residues.

With :math:`g_{ij}=1-\lambda_i\bar\lambda_j` (continuous time: :math:`-\lambda_i-\bar\lambda_j`) the inner product of
two systems of simple poles is

.. math:: \langle F,F_r\rangle=\sum_{ij}\frac{(c_j^*c_i)(b_ib_j^*)}{g_{ij}},

so the energy and its gradient cost a few products of small matrices :cite:p:`A05`. What does not improve on the start,
measured by the norm itself, is not taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.threads import few_threads
from theory.gramians.gramians import stacked_output
from theory.gramians.h2 import h2_norm
from theory.reduction.descent import Objective, Point, descend
from theory.reduction.h2_refit import h2_refit
from theory.reduction.improvement import chosen
from theory.systems.difference import difference
from theory.systems.margin import pole_gap
from theory.systems.pairs import both_halves
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

MOVES = 3.0, 30.0
"""How far a descent in H2 may move the logarithm of a margin, and an angle in margins: a guard, not a trust region."""


class Energy:
    """``log(|F - F_r|_2^2 / |F|_2^2)`` of one system as a function of a point, with its gradient.

    Two directions that both see the present sample (``delay=0``) share lag 0: what each gets wrong there may cancel.
    """

    def __init__(self, system: DiagonalStateSpace) -> None:
        C = stacked_output(system)
        self.discrete, self.paired = system.is_discrete, system.conjugate_pairs
        both_see = system.is_discrete and system.is_bidirectional and system.delay == 0 == system.delay_reverse
        self.present = self._present(C, system.B) if both_see else None
        self.poles, self.B, self.C = system.poles, system.B, C
        if self.paired:
            self.poles, self.B, self.C = both_halves(system.poles), both_halves(system.B, -2), both_halves(C)
        own = Point(poles=system.poles, B=system.B, C=C)
        self.ways = self._product(self.poles, self.B, self.C, own)[0]
        shared = 0.0 if self.present is None else 2.0 * float((self.present[0].conj() * self.present[1]).sum().real)
        self.whole = self.ways + shared

    def _product(self, poles: Array, B: Array, C: Array, point: Point) -> tuple[float, Array, Array, Array]:
        """``<F, F_r>`` over the stored modes of the second, both halves; gradients along them with the first fixed."""
        gap = pole_gap(poles[:, None], point.poles[None, :], self.discrete)  # (N, r)
        left, right = point.C.conj().T @ C, B @ point.B.conj().T  # (r, N), (N, r)
        weight = 2.0 if self.paired else 1.0
        value = weight * float((left.T * right / gap).sum().real)
        growth = poles[:, None] if self.discrete else 1.0
        along = weight * (left.T * right * growth / gap**2).sum(axis=0)
        return value, along, weight * (left / gap.T) @ B, weight * C @ (right / gap)

    def _present(self, C: Array, B: Array) -> Array:
        """What either direction adds to the present sample, (2, p, m)."""
        seen = C.reshape(2, -1, C.shape[-1]) @ B
        return np.asarray(2.0 * seen.real if self.paired else seen)

    def _shared(self, point: Point) -> tuple[float, Array, Array]:
        """``2 Re <e, e'>`` of what both directions get wrong in the present sample; gradients along B and C."""
        assert self.present is not None
        wrong = self.present - self._present(point.C, point.B)
        other = (4.0 if self.paired else 2.0) * wrong[::-1].reshape(len(point.C), -1)  # what a change of the one meets
        value = 2.0 * float((wrong[0].conj() * wrong[1]).sum().real)
        return value, -point.C.conj().T @ other, -other @ point.B.conj().T

    def __call__(self, point: Point) -> tuple[float, Array, Array, Array]:
        """Value and gradients."""
        across = self._product(self.poles, self.B, self.C, point)
        halves = (both_halves(point.poles), both_halves(point.B, -2), both_halves(point.C)) if self.paired else (
            point.poles, point.B, point.C)  # fmt: skip
        own = self._product(*halves, point)
        energy = self.ways - 2.0 * across[0] + own[0]
        gradients = [2.0 * (mine - other) for mine, other in zip(own[1:], across[1:], strict=True)]
        if self.present is not None:
            value, along_b, along_c = self._shared(point)
            energy += value
            gradients[1:] = gradients[1] + along_b, gradients[2] + along_c
        size = max(energy, 1e-15 * self.whole)
        return float(np.log(size / self.whole)), gradients[0] / size, gradients[1] / size, gradients[2] / size


@few_threads
def h2_descent(
    system: DiagonalStateSpace, start: DiagonalStateSpace, *, steps: int = 200, stay_real: bool = False
) -> DiagonalStateSpace:
    r"""Return a system of the order of `start` that is better in H2, or `start`.

    Parameters
    ----------
    system, start : DiagonalStateSpace
        Stable, of one form; one system or a batch.
    steps : int, keyword only
        At most, for every channel.
    stay_real : bool, keyword only
        Whether real poles of pairs stay real: of a dense system, where a pair takes two states.

    Returns
    -------
    DiagonalStateSpace
        ``|G - G_r|_2`` is at most that of `start`, in every channel: compared by :func:`theory.gramians.h2.h2_norm`.
    """
    if not start.n or not system.n:
        return start
    pieces = [_descended(one, other, steps, stay_real) for one, other in channels(system, start)]
    moved = joined(start, pieces)
    found = h2_refit(system, moved)
    assert isinstance(found, DiagonalStateSpace)
    return better_in_h2(system, found, start)


def better_in_h2(
    system: DiagonalStateSpace, found: DiagonalStateSpace, start: DiagonalStateSpace
) -> DiagonalStateSpace:
    """`found` in the channels where it is closer to `system` than `start`, and `start` elsewhere."""
    after, before = (np.asarray(h2_norm(difference(system, one))) for one in (found, start))
    return chosen(after < before, found, start)


def channels(
    system: DiagonalStateSpace, start: DiagonalStateSpace
) -> list[tuple[DiagonalStateSpace, DiagonalStateSpace]]:
    """The systems of two batches, one by one."""
    if not system.batch_shape:
        return [(system, start)]
    return [(system[index], start[index]) for index in np.ndindex(system.batch_shape)]


def joined(form: DiagonalStateSpace, pieces: list[DiagonalStateSpace]) -> DiagonalStateSpace:
    """The channels of a batch, all of the same order, as one system of the form of `form`."""
    if not form.batch_shape:
        return pieces[0]

    def gathered(name: str) -> Array | None:
        if getattr(pieces[0], name) is None:
            return None
        arrays = np.stack([getattr(piece, name) for piece in pieces])
        return arrays.reshape(*form.batch_shape, *arrays.shape[1:])

    return form.replace(poles=gathered("poles"), B=gathered("B"), C=gathered("C"), C_reverse=gathered("C_reverse"))


def _descended(
    system: DiagonalStateSpace, start: DiagonalStateSpace, steps: int, stay_real: bool
) -> DiagonalStateSpace:
    energy = Energy(system)
    if not energy.whole > 0:
        return start
    objective: Objective = energy
    point = descend(
        objective, Point.of(start), discrete=system.is_discrete, paired=system.conjugate_pairs, steps=steps,
        moves=MOVES, stay_real=stay_real,
    )  # fmt: skip
    found = point.written(start)
    return found if (found.margin > 0).all() else start
