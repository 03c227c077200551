r"""Gramians of a system behind, or in front of, a weight: what coloured signals reach, and what a coloured look sees.

.. math::
    P_S=\frac1{2\pi}\int R(\omega)B\,S(\omega)\,B^*R(\omega)^*\,d\omega,\qquad
    Q_S=\frac1{2\pi}\int R(\omega)^*C^*S(\omega)\,C\,R(\omega)\,d\omega,\qquad R(\omega)=(zI-A)^{-1},

for a spectral density :math:`S` of the input, or of the output. It is piecewise constant, or :math:`WW^*` (of the
output :math:`W^*W`) of a stable system :math:`W`; then these are the blocks of the Gramians of the cascades :math:`GW`
and :math:`WG` that belong to :math:`G` :cite:p:`E84`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.errors import AccuracyError
from theory.gramians.frequency_limited import Piece, piecewise_gramians
from theory.gramians.gramians import _gaps as gaps
from theory.gramians.gramians import _real_form as real_form
from theory.gramians.gramians import gramians
from theory.gramians.weights import fitted_weight
from theory.systems.given import SystemLike, as_system
from theory.systems.margin import pole_gap
from theory.systems.pairs import both_halves
from theory.systems.system import DiagonalStateSpace, StateSpace, require_stable

Array = NDArray[Any]


def weighted_gramians(system: SystemLike, into: Any = None, out: Any = None) -> tuple[Array, Array]:
    r"""Return :math:`P_S` for a spectral density of the input, and :math:`Q_S` for one of the output.

    With :math:`R_k=\mathrm E\,u_{t+k}u_t^*` the covariances of the input,

    .. math::
        (P_S)_{ij}=\frac{b_i\bigl(\Phi(\lambda_i)+\Phi(\lambda_j)^*\bigr)b_j^*}{1-\lambda_i\bar\lambda_j},\qquad
        \Phi(\lambda)=\tfrac12R_0+\sum_{k\ge1}\lambda^kR_k^*

    (continuous time: :math:`-\lambda_i-\bar\lambda_j` below, and :math:`\int_0^\infty e^{\lambda\tau}R(\tau)^*d\tau`).

    Parameters
    ----------
    system : DiagonalStateSpace
        Stable; a batch gives a batch.
    into, out : StateSpace or (edges, values), optional
        A weight in the time base of `system`, stable, real where `system` is: `into` has its m outputs, `out` its p
        inputs; one with one input and one output stands for the same on every channel. Or the spectral density itself,
        a number for all channels: ``values[k]`` from ``edges[k]`` to ``edges[k + 1]`` (rad/sample up to pi, rad/s in
        continuous time), of both signs, and zero elsewhere. ``None``: white, the Gramian is the exact one.

    Returns
    -------
    P, Q : ndarray, shape (..., N, N)
        Coordinates as in :func:`theory.gramians.gramians.gramians`. Two directions of time: Q is the sum over both
        outputs, P the mean of the states that run forwards and backwards.

    Raises
    ------
    StabilityError, DimensionError, TimeBaseError, InputError
    AccuracyError
        The Gramian of a weight cannot be proved; or what comes out overflows.

    Notes
    -----
    With :math:`W=(A_w,B_w,C_w,D_w)` of Gramian :math:`P_w`, :math:`R_k=C_wA_w^{k-1}G_w`,
    :math:`G_w=A_wP_wC_w^*+B_wD_w^*` (continuous: :math:`P_wC_w^*+B_wD_w^*`), and :math:`\Phi(\lambda)` is a triangular
    solve on the Schur form of :math:`A_w`: O(n_w^3 + n n_w^2 + n^2 m). An entry is right to eps over the gap, relative
    to its size without weight; for densities see :mod:`theory.gramians.frequency_limited`.
    """
    system = as_system(system, diagonal=True)
    require_stable(system)
    weights = fitted_weight(into, system, "input"), fitted_weight(out, system, "output")
    with np.errstate(over="ignore", invalid="ignore"):
        P, Q = _reached(system, weights[0]), _seen(system, weights[1])
    if not (np.isfinite(P).all() and np.isfinite(Q).all()):
        raise AccuracyError(
            "the weighted Gramians overflow float64: scale the weights down, nothing else changes", np.inf
        )
    return P, Q


def _reached(system: DiagonalStateSpace, weight: StateSpace | tuple[Piece, ...] | None) -> Array:
    if weight is None:
        return gramians(system)[0]
    if isinstance(weight, tuple):
        return piecewise_gramians(system, weight, ())[0]
    P = _through(system, system.poles, system.B, weight)
    if system.is_bidirectional:
        P = 0.5 * (P + _through(system, system.poles, system.B, weight, backwards=True))
    return 0.5 * P if system.conjugate_pairs else P


def _seen(system: DiagonalStateSpace, weight: StateSpace | tuple[Piece, ...] | None) -> Array:
    if weight is None:
        return gramians(system)[1]
    if isinstance(weight, tuple):
        return piecewise_gramians(system, (), weight)[1]
    dual = StateSpace(*(X.conj().T for X in (weight.A, weight.C, weight.B, weight.D)), dt=weight.dt)
    poles = system.poles.conj()
    Q = _through(system, poles, np.swapaxes(system.C, -1, -2).conj(), dual)
    if system.C_reverse is not None:
        Q = Q + _through(system, poles, np.swapaxes(system.C_reverse, -1, -2).conj(), dual, backwards=True)
    return 2.0 * Q if system.conjugate_pairs else Q


def _through(system: DiagonalStateSpace, poles: Array, G: Array, weight: StateSpace, backwards: bool = False) -> Array:
    """The Gramian of the modes driven through `G` by the output of a weight, whose time may run backwards."""
    if system.conjugate_pairs:
        poles, G = both_halves(poles), both_halves(G, -2)
    half = _driven(poles, G, weight, backwards) @ np.swapaxes(G, -1, -2).conj()
    whole = (half + np.swapaxes(half, -1, -2).conj()) / gaps(poles, system.is_discrete)[0]
    if not system.conjugate_pairs:
        return np.asarray(whole)
    n = system.n
    return real_form(whole[..., :n, :n], whole[..., :n, n:])


def _driven(poles: Array, G: Array, weight: StateSpace, backwards: bool) -> Array:
    r"""Rows :math:`g_i\Phi(\lambda_i)`, (..., n, m); backwards in time :math:`R_k` takes the place of :math:`R_k^*`."""
    if weight.p != G.shape[-1]:  # one density for every channel
        return np.asarray(_driven(poles, np.ones_like(G[..., :1]), weight, backwards) * G)
    A, B, C, D = weight.A, weight.B, weight.C, weight.D
    PC = gramians(weight)[0] @ C.conj().T
    now = D @ D.conj().T + (C @ PC if weight.is_discrete else 0.0)
    later = (A @ PC if weight.is_discrete else PC) + B @ D.conj().T
    left, A, right = (C, A, later) if backwards else (later.conj().T, A.conj().T, C.conj().T)
    T, U = scipy.linalg.schur(A, output="complex") if weight.n else (A, A)
    states = _solved(G @ (left @ U), T, poles, weight.is_discrete) @ (U.conj().T @ right)
    if weight.is_discrete:
        states = poles[..., None] * states
    return np.asarray(0.5 * G @ now + states)


def _solved(rows: Array, T: Array, poles: Array, discrete: bool) -> Array:
    r"""Solve :math:`x_i(I-\lambda_iT)=y_i`, in continuous time :math:`x_i(-\lambda_iI-T)=y_i`; T upper triangular."""
    x = np.zeros(rows.shape, dtype=complex)
    for k in range(T.shape[0]):
        known = x[..., :k] @ T[:k, k]
        total = rows[..., k] + (poles * known if discrete else known)
        x[..., k] = total / pole_gap(poles, T[k, k].conj(), discrete)
    return x
