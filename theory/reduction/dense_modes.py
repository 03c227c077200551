"""Some modes of a dense system, as a dense system: what a selection of poles is where no poles are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.reduction.balancing import Truncation, balance
from theory.reduction.bounds import hankel_floor
from theory.reduction.dense_truncation import certified
from theory.systems.system import DiagonalStateSpace, StateSpace, require_stable

Array = NDArray[Any]


def leading_modes(modes: DiagonalStateSpace, scores: Array, order: int) -> Array:
    """Indices of the modes with the largest scores that `order` states have room for.

    A pair of a real system takes two. In the order of their scores; a mode that there is no room for is left out, and a
    smaller one may still fit.
    """
    sizes = np.where(modes.conjugate_pairs & (modes.poles.imag != 0), 2, 1)
    kept, room = [], order
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        if sizes[i] <= room:
            kept.append(int(i))
            room -= int(sizes[i])
    return np.array(kept, dtype=int)


def realized(modes: DiagonalStateSpace, kept: Array) -> StateSpace:
    """The modes `kept` and the feedthrough: a pair is a real block of two states, a real pole of a real system one."""
    poles, B, C = modes.poles[kept], modes.B[kept], modes.C[:, kept]
    if not modes.conjugate_pairs:
        return StateSpace(np.diag(poles), B, C, modes.D, dt=modes.dt)
    alone = poles.imag == 0
    blocks, rows, columns = [], [], []
    for one, b, c, real in zip(poles, B, C.T, alone, strict=True):
        if real:
            blocks.append(np.array([[one.real]]))
            rows.append(b.real[None, :])
            columns.append(2.0 * c.real[:, None])  # stored with half of it
        else:
            blocks.append(np.array([[one.real, -one.imag], [one.imag, one.real]]))
            rows.append(np.vstack([b.real, b.imag]))
            columns.append(2.0 * np.column_stack([c.real, -c.imag]))
    A = scipy.linalg.block_diag(*blocks) if blocks else np.zeros((0, 0))
    B = np.concatenate(rows) if rows else np.zeros((0, modes.m))
    C = np.concatenate(columns, axis=1) if columns else np.zeros((modes.p, 0))
    return StateSpace(A, B, C, modes.D, dt=modes.dt)


def keep_modes(system: StateSpace, modes: DiagonalStateSpace, scores: Array, order: int) -> Truncation:
    """Keep the modes with the largest scores; the bound is the certified error of what is written.

    Parameters
    ----------
    system : StateSpace
        Stable.
    modes : DiagonalStateSpace
        The same system, diagonalized.
    scores : ndarray, shape (number of modes,)
    order : int
        States, at most.

    Raises
    ------
    AccuracyError
        The error cannot be proved.
    """
    shared = balance(system)
    kept = leading_modes(modes, scores, order)
    if order == system.n:
        reduced, bound = system, 0.0
    else:
        reduced = realized(modes, kept)
        require_stable(reduced)
        bound, _ = certified(system, reduced, 0.0)
    return Truncation(
        system=reduced, order=reduced.n, hsv=shared.hsv, bound=bound, floor=hankel_floor(shared.floor_hsv, reduced.n),
        status=f"{kept.size} modes, {reduced.n} of {system.n} states", diagnostics={"poles": modes.poles[kept]},
    )  # fmt: skip
