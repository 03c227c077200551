r"""Gramians and their factors: closed form for diagonal systems, square-root recursions for dense ones.

Discrete time: :math:`P-APA^*=BB^*,\ Q-A^*QA=C^*C`; continuous time: :math:`AP+PA^*=-BB^*,\ A^*Q+QA=-C^*C`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.equations.kautz import pair_functions
from theory.equations.lyapunov import diagonal_factor, real_factor
from theory.gramians.dense import dense_gramians
from theory.systems.given import SystemLike, as_system
from theory.systems.margin import pole_gap
from theory.systems.pairs import both_halves, real_input
from theory.systems.system import DiagonalStateSpace, StateSpace, require_stable

Array = NDArray[Any]


def stacked_output(system: DiagonalStateSpace) -> Array:
    """``[C; C_reverse]``, (..., 2p, n); ``C`` when there is one direction. Both directions share one Gramian."""
    if system.C_reverse is None:
        return system.C
    return np.concatenate([system.C, system.C_reverse], axis=-2)


def gramians(system: SystemLike) -> tuple[Array, Array]:
    r"""Return the controllability and the observability Gramian, :math:`(P, Q)`.

    For a diagonal system with stored poles :math:`\lambda_i` in discrete time

    .. math::

        P_{ij}=\frac{(BB^*)_{ij}}{1-\lambda_i\bar\lambda_j},\qquad
        Q_{ij}=\frac{(C^*C)_{ij}}{1-\bar\lambda_i\lambda_j}

    (continuous time: :math:`-\lambda_i-\bar\lambda_j` and :math:`-\bar\lambda_i-\lambda_j` below), where the
    denominators are free of cancellation. :cite:p:`A05`

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; a batch gives a batch. Only ``A``, ``B``, ``C`` as stored matter: not ``D``, not `delay`.
        A bidirectional system has its two output matrices stacked, ``[C; C_reverse]``.

    Returns
    -------
    P, Q : ndarray, shape (..., N, N)
        ``N`` is ``n``, and ``2n`` for conjugate pairs: then of the real system with state ``[Re x; Im x]``, input
        matrix ``[Re B; Im B]`` and output matrix ``2 [Re C, -Im C]``, the one that
        :func:`theory.systems.realization.dense` writes.

    Raises
    ------
    StabilityError
        A pole lies on or outside the boundary.

    Notes
    -----
    For Hankel singular values and balancing take :func:`gramian_factors`: the products here carry half the digits of
    the small ones. Dense: from the factors.
    """
    system = as_system(system)
    if isinstance(system, StateSpace):
        Lc, Lo = gramian_factors(system)
        return Lc @ Lc.conj().T, Lo @ Lo.conj().T
    require_stable(system)
    C = stacked_output(system)
    gaps = _gaps(system.poles, system.is_discrete)
    P, P_mixed = _closed_form(system.B, gaps)
    Q, Q_mixed = _closed_form(np.swapaxes(C, -1, -2).conj(), (gaps[0].conj(), gaps[1].conj()))
    if not system.conjugate_pairs:
        return P, Q
    return 0.5 * _real_form(P, P_mixed), 2.0 * _real_form(Q, Q_mixed)


def _gaps(poles: Array, discrete: bool) -> tuple[Array, Array]:
    """Denominators of the closed form: for ``E[x x^*]`` and for ``E[x x^T]``."""
    rows, columns = poles[..., :, None], poles[..., None, :]
    return pole_gap(rows, columns, discrete), pole_gap(rows, columns.conj(), discrete)


def _closed_form(G: Array, gaps: tuple[Array, Array]) -> tuple[Array, Array]:
    """``E[x x^*]`` and ``E[x x^T]`` of a diagonal system."""
    other = np.swapaxes(G, -1, -2)
    return G @ other.conj() / gaps[0], G @ other / gaps[1]


def _real_form(direct: Array, mixed: Array) -> Array:
    """The Gramian of ``sqrt(2) [Re x; Im x]`` from ``E[x x^*]`` and ``E[x x^T]``."""
    top = np.concatenate([direct.real + mixed.real, mixed.imag - direct.imag], axis=-1)
    low = np.concatenate([direct.imag + mixed.imag, direct.real - mixed.real], axis=-1)
    return np.concatenate([top, low], axis=-2)


def gramian_factors(system: SystemLike) -> tuple[Array, Array]:
    r"""Return :math:`(L_c, L_o)` with :math:`P=L_cL_c^*` and :math:`Q=L_oL_o^*`, computed without forming P and Q.

    Same system, shapes and conventions as :func:`gramians`; the factors are square, real for a real system.

    Raises
    ------
    StabilityError
        A pole lies on or outside the boundary.
    AccuracyError
        Neither float64 nor integers prove the Gramians of a dense system.

    Notes
    -----
    Diagonal: with one channel in closed form, by orthonormal functions (:mod:`theory.equations.kautz`), O(n^2); else by
    the tangential Schur algorithm, Hammarling's recursion with :math:`A` diagonal, O(n^2 m) and, for conjugate pairs, a
    QR factorization. Batched. Entries are products of pole differences, so clustered, repeated and nearly unobservable
    modes keep their digits. Dense: Hammarling's recursion on the complex Schur form :cite:p:`H82`, O(n^3),
    with a proof of stability and of what it is off by; where that is too much, in integers
    (:mod:`theory.gramians.dense`).
    """
    system = as_system(system)
    if isinstance(system, StateSpace):
        return dense_gramians(system).factors() if system.n else (np.zeros((0, 0)), np.zeros((0, 0)))
    require_stable(system)
    return controllability_factor(system), observability_factor(system)


def controllability_factor(system: DiagonalStateSpace) -> Array:
    """Return :math:`L_c` alone, of a stable diagonal system."""
    factor = _pair_factor if system.conjugate_pairs else diagonal_factor
    return factor(system.poles, system.B, system.is_discrete)


def observability_factor(system: DiagonalStateSpace) -> Array:
    """Return :math:`L_o` alone, of a stable diagonal system."""
    poles, G = system.poles.conj(), np.swapaxes(stacked_output(system), -1, -2).conj()
    if system.conjugate_pairs:  # the output matrix is 2 [Re C, -Im C]
        return 2.0 * _pair_factor(poles, G, system.is_discrete)
    return diagonal_factor(poles, G, system.is_discrete)


def scaled_cholesky_factors(system: DiagonalStateSpace) -> tuple[Array, Array, Array, Array] | None:
    r"""Return ``Lc, Lo, dc, do`` from Cholesky factors of the closed form scaled to unit diagonal, or ``None``.

    A few matrix products instead of a recursion, for one system, and worth it when the scaled Gramians
    :math:`H=\mathrm{diag}(d)^{-1}P\,\mathrm{diag}(d)^{-1}` are well conditioned: the factors are those of matrices
    whose scaled entries are off by a few eps. ``None`` where ``H`` is not numerically positive definite.
    The caller must judge the result, as :func:`theory.gramians.hankel.balancing_factors` does.
    """
    C, gaps = stacked_output(system), _gaps(system.poles, system.is_discrete)
    found = []
    for G, below, weight in (
        (system.B, gaps, 0.5),
        (np.swapaxes(C, -1, -2).conj(), (gaps[0].conj(), gaps[1].conj()), 2.0),
    ):
        direct, mixed = _closed_form(G, below)
        d = np.sqrt(direct.diagonal().real)
        if not (d > 0).all():
            return None
        rows = 1.0 / np.outer(d, d)
        if system.conjugate_pairs:
            H = _real_form(direct * rows, mixed * rows)
            d = np.sqrt(weight) * np.concatenate([d, d])
        else:
            H = direct * rows
        try:
            L = np.linalg.cholesky(H)
        except np.linalg.LinAlgError:
            return None
        found.append((d[:, None] * L, d))
    (Lc, dc), (Lo, do) = found
    return Lc, Lo, dc, do


def _pair_factor(poles: Array, G: Array, discrete: bool) -> Array:
    """A real factor in the coordinates [Re x; Im x] for the inputs [Re G; Im G]."""
    if G.shape[-1] == 1:
        return real_input(pair_functions(poles, G[..., 0], discrete))
    return np.asarray(np.sqrt(0.5) * _unitary_real(diagonal_factor(both_halves(poles), both_halves(G, -2), discrete)))


def _unitary_real(L: Array) -> Array:
    """A real factor in the coordinates ``sqrt(2) [Re x; Im x]`` from a factor in ``[x; conj x]``."""
    half = L.shape[-2] // 2
    top, low = L[..., :half, :], L[..., half:, :]
    return real_factor(np.sqrt(0.5) * np.concatenate([top + low, -1j * (top - low)], axis=-2))
