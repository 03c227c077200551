r"""The output matrix that is best in H2, poles and input matrix kept: a linear problem with Gramians for moments.

With :math:`P_r` the reachability Gramian of the reduced :math:`(A_r,B_r)` and :math:`X` the cross Gramian,
:math:`X-AXA_r^*=BB_r^*`, the energy of the error is quadratic in :math:`C_r` and least for

.. math:: C_r=CXP_r^{-1},\qquad\|G-G_r\|_2^2=\mathrm{tr}\,C(P-XP_r^{-1}X^*)C^*

:cite:p:`A05`. Where both directions of a bidirectional layer see the present sample, they share it, and are fitted
together. Directions that nothing reaches keep what they had, so the result is never worse than its start.

The diagonal of D counts at lag 0 alone. Where the states are seen a sample later (``delay=1``), nothing else does,
and :math:`D_r=D` is the best: fitting it gains nothing. Where the present sample is seen (``delay=0``, S5 and S4D),
lag 0 is :math:`D+CB`; an entry of D that is free takes over what is left of its entry there, so each row of
:math:`C_r` solves the same problem with :math:`P_r-b_ib_i^*` for :math:`P_r`, :math:`b_i` the i-th column of B_r.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.errors import DimensionError, InputError
from theory.gramians.gramians import gramians, stacked_output
from theory.gramians.h2 import h2_norm
from theory.reduction.improvement import chosen
from theory.systems.difference import difference
from theory.systems.given import SystemLike, as_system
from theory.systems.pairs import real_input, real_output
from theory.systems.system import DiagonalStateSpace, StateSpace, System, require_stable

Array = NDArray[Any]

REACHED = 64.0 * EPS
"""Eigenvalue of a Gramian with a diagonal of ones, over its size, up to which a direction is rounding, not reached."""


def h2_refit(system: SystemLike, reduced: SystemLike, *, feedthrough: bool = False) -> System:
    r"""Return `reduced` with the output matrix for which :math:`\|G-G_r\|_2` is least.

    Parameters
    ----------
    system, reduced : StateSpace or DiagonalStateSpace
        Stable, of one kind; same time base, inputs, outputs, delays, directions and batch.
    feedthrough : bool, keyword only
        Whether the diagonal of ``D`` is fitted, too, in real numbers: of diagonal systems in discrete time with as many
        outputs as inputs.

    Returns
    -------
    System
        Poles, ``B`` and what is not fitted of ``D`` of `reduced`, bit for bit. `reduced` itself, or its channels, where
        rounding leaves nothing to gain.

    Raises
    ------
    StabilityError, DimensionError, InputError

    Notes
    -----
    Poles of `reduced` that are nearer to each other than about the square root of the unit of rounding, relative to
    their margin, reach nearly the same states; what rounding cannot tell apart there keeps what it had, and the result
    is the least only up to that.

    Cost O((n + r)^3). In continuous time a feedthrough of the error makes its norm infinite and is left out.
    """
    system, reduced = as_system(system), as_system(reduced)
    if type(system) is not type(reduced):
        raise InputError("both systems must be dense, or both diagonal")
    if system.D.shape != reduced.D.shape:
        raise DimensionError("the systems differ in ports or batch", first=system.D.shape, second=reduced.D.shape)
    require_stable(system)
    require_stable(reduced)
    if feedthrough and not (isinstance(system, DiagonalStateSpace) and system.is_discrete and system.p == system.m):
        raise InputError(
            "the diagonal of D is fitted of diagonal systems in discrete time with as many outputs as inputs; in "
            "continuous time any other D than that of the whole makes the H2 error infinite"
        )
    if not reduced.n and not feedthrough:
        return reduced
    if isinstance(system, StateSpace) and isinstance(reduced, StateSpace):
        fitted: System = _dense(system, reduced)
        return fitted if h2_norm(difference(system, fitted)) <= h2_norm(difference(system, reduced)) else reduced
    assert isinstance(system, DiagonalStateSpace)
    assert isinstance(reduced, DiagonalStateSpace)
    both = _diagonal(system, reduced, feedthrough)
    better = np.asarray(h2_norm(difference(system, both))) <= np.asarray(h2_norm(difference(system, reduced)))
    return chosen(better, both, reduced)


def h2_refit_both(system: SystemLike, reduced: SystemLike, *, rounds: int = 50, least: float = 1e-4) -> System:
    r"""Return `reduced` with ``C`` and ``B`` fitted in turns: each the best in H2 for the other.

    ``B`` is what ``C`` is of the transposed system. The error falls with every turn, towards a point where neither
    alone gains anything; that there is no better pair is not known.

    Parameters
    ----------
    system, reduced : StateSpace or DiagonalStateSpace
        As for :func:`h2_refit`; of one direction.
    rounds : int, keyword only
        At most.
    least : float, keyword only
        Relative gain of a round below which it ends.

    Raises
    ------
    StabilityError, DimensionError
    InputError
        Two directions share their ``B``, so the transposed system is not of the same form.
    """
    system, found = as_system(system), as_system(reduced)
    if isinstance(system, DiagonalStateSpace) and system.is_bidirectional:
        raise InputError("B of two directions is shared: fit C alone")
    error = np.inf
    for _ in range(rounds):
        found = h2_refit(system, found)
        found = transposed(h2_refit(transposed(system), transposed(found)))
        before, error = error, float(np.linalg.norm(h2_norm(difference(system, found))))
        if not error < before * (1.0 - least):
            break
    return found


def transposed(system: System) -> System:
    """The system whose transfer function is the transpose, of one direction: B and C change places."""
    D = np.swapaxes(system.D, -1, -2)
    if isinstance(system, StateSpace):
        return StateSpace(system.A.T, system.C.T, system.B.T, D, dt=system.dt)
    B, C = (np.swapaxes(array, -1, -2) for array in (system.C, system.B))
    return DiagonalStateSpace(
        system.poles, B, C, D, dt=system.dt, delay=system.delay, conjugate_pairs=system.conjugate_pairs
    )


def _dense(system: StateSpace, reduced: StateSpace) -> StateSpace:
    n, r = system.n, reduced.n
    A = np.block([[system.A, np.zeros((n, r))], [np.zeros((r, n)), reduced.A]])
    joint = StateSpace(A, np.vstack([system.B, reduced.B]), np.zeros((1, n + r)), dt=system.dt)
    P = gramians(joint)[0]
    C = reduced.C + _solved(P[n:, n:], system.C @ P[:n, n:] - reduced.C @ P[n:, n:])
    return StateSpace(reduced.A, reduced.B, C, reduced.D, dt=reduced.dt)


def _diagonal(system: DiagonalStateSpace, reduced: DiagonalStateSpace, feedthrough: bool) -> DiagonalStateSpace:
    X, P = _joint(system, reduced)
    C, C_r, B, B_r = stacked_output(system), stacked_output(reduced), system.B, reduced.B
    if system.conjugate_pairs:
        C, C_r, B, B_r = real_output(C), real_output(C_r), real_input(B), real_input(B_r)
    wanted = C @ X - C_r @ P
    now = C @ B - C_r @ B_r  # of each direction, stacked: what it adds to the present sample, if it sees that
    p, adjoint = system.p, np.swapaxes(B_r, -1, -2).conj()
    sees = [system.delay == 0] + ([system.delay_reverse == 0] if system.is_bidirectional else [])
    change = system.D - reduced.D if system.is_discrete else 0.0 * system.D
    ways = [slice(k * p, (k + 1) * p) for k in range(len(sees))]
    for k, way in enumerate(ways):
        if sees[k]:
            others = sum((now[..., ways[j], :] for j in range(len(sees)) if sees[j] and j != k), change)
            wanted[..., way, :] += others @ adjoint
    D = reduced.D
    if feedthrough:
        left = change + sum((now[..., way, :] for k, way in enumerate(ways) if sees[k]), 0.0 * change)
        step, taken = _with_diagonal(P, B_r, wanted, left, sees)
        D = D + np.eye(p) * taken[..., None]
    elif all(sees) and len(sees) == 2:
        shared = B_r @ adjoint
        H = np.concatenate([np.concatenate([P, shared], -1), np.concatenate([shared, P], -1)], -2)
        step = _solved(H, np.concatenate([wanted[..., way, :] for way in ways], axis=-1))
        K = P.shape[-1]
        step = np.concatenate([step[..., :K], step[..., K:]], axis=-2)
    else:
        step = _solved(P, wanted)
    C_r = C_r + step
    if system.conjugate_pairs:
        C_r = 0.5 * (C_r[..., : reduced.n] - 1j * C_r[..., reduced.n :])
    return reduced.replace(C=C_r[..., :p, :], C_reverse=C_r[..., p:, :] if system.is_bidirectional else None, D=D)


def _with_diagonal(P: Array, B: Array, wanted: Array, left: Array, sees: list[bool]) -> tuple[Array, Array]:
    """Steps of C, directions stacked (..., q, K), and of the diagonal of D (..., p), of the lag-0 error `left`.

    Row i of all directions, s, and the entry d minimise ``s H s^* - 2 Re w s^* + (d - Re(e - s v))^2 - Re(e - s v)^2``
    with ``e = left[i, i]`` and v the column of B where the present sample is seen: d takes the first square, and s
    solves what is left of it, in real numbers.
    """
    K, p, ways = B.shape[-2], left.shape[-1], len(sees)
    zero, shared = np.zeros_like(P), B @ np.swapaxes(B, -1, -2).conj()
    across = shared if all(sees) else zero
    H = P if ways == 1 else np.concatenate([np.concatenate([P, across], -1), np.concatenate([across, P], -1)], -2)
    v = np.concatenate([B if seen else np.zeros_like(B) for seen in sees], axis=-2)  # (..., K', p)
    w = np.concatenate([wanted[..., k * p : (k + 1) * p, :] for k in range(ways)], axis=-1)  # (..., p, K')
    H = np.concatenate([np.concatenate([H.real, H.imag], -1), np.concatenate([-H.imag, H.real], -1)], -2)
    v, w = np.concatenate([v.real, -v.imag], -2), np.concatenate([w.real, w.imag], -1)
    v, e = np.swapaxes(v, -1, -2), np.diagonal(left, axis1=-2, axis2=-1).real  # (..., p, 2K'), (..., p)
    rows = H[..., None, :, :] - v[..., :, None] * v[..., None, :]
    s = _solved(rows, (w - e[..., None] * v)[..., None, :])[..., 0, :]
    taken = e - np.sum(s * v, axis=-1)
    s = s[..., : ways * K] + 1j * s[..., ways * K :]
    s = s if np.iscomplexobj(B) or np.iscomplexobj(P) else s.real
    return np.concatenate([s[..., k * K : (k + 1) * K] for k in range(ways)], axis=-2), taken


def _joint(system: DiagonalStateSpace, reduced: DiagonalStateSpace) -> tuple[Array, Array]:
    """The Gramian between the states of both systems, (..., N, R), and that of the reduced ones, (..., R, R)."""
    n, r = system.n, reduced.n
    B = np.concatenate([system.B, reduced.B], axis=-2)
    both = DiagonalStateSpace(
        np.concatenate([system.poles, reduced.poles], axis=-1), B, np.zeros_like(np.swapaxes(B, -1, -2)),
        dt=system.dt, conjugate_pairs=system.conjugate_pairs,
    )  # fmt: skip
    P = gramians(both)[0]
    first, other = np.arange(n), np.arange(n, n + r)
    if system.conjugate_pairs:
        first, other = np.concatenate([first, first + n + r]), np.concatenate([other, other + n + r])
    return P[..., first[:, None], other], P[..., other[:, None], other]


def _solved(H: Array, wanted: Array) -> Array:
    """``wanted H^+``, with the directions of H that are rounding left out."""
    size = np.sqrt(np.maximum(np.diagonal(H, axis1=-2, axis2=-1).real, 0.0))
    d = np.where(size > 0, 1.0 / np.where(size > 0, size, 1.0), 0.0)
    values, V = np.linalg.eigh(H * d[..., :, None] * d[..., None, :])
    there = values > REACHED * H.shape[-1]
    inverse = np.where(there, 1.0 / np.where(there, values, 1.0), 0.0)
    along = (wanted * d[..., None, :]) @ V * inverse[..., None, :]
    return np.asarray(along @ np.swapaxes(V, -1, -2).conj() * d[..., None, :])
