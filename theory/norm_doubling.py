r"""The stabilizing solution of a Riccati equation by structure-preserving doubling: a guess for a proof, not a proof.

.. math:: X = A^*X(I - GX)^{-1}A + H,\qquad G, H \succeq 0,

is solved by :math:`A_+=AW^{-1}A,\ G_+=G+AW^{-1}GA^*,\ H_+=H+A^*HW^{-1}A` with :math:`W=I-GH`; H converges to X
quadratically, and after k rounds :math:`A_k` is the 2^k-th power of the closed loop (Chu, Fan, Lin, Wang, Int. J.
Control 77, 2004). Near the norm of a lightly damped system some 25 rounds are needed, but :math:`A_k` soon has a low
rank, :math:`A=UTV^*`; from there on everything happens in the small spaces of U and V.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Array = NDArray[Any]


def stabilizing_solution(
    A: Array,
    G: Array,
    H: Array,
    *,
    moduli: Array | None = None,
    tol: float = 1e-15,
    rounds: int = 60,
    rank: float = 0.45,
    cut: float = 1e-12,
) -> Array | None:
    """Return X, or ``None`` where the iteration breaks down or does not settle.

    Parameters
    ----------
    A, G, H : ndarray, shape (n, n)
        G and H Hermitian and positive semidefinite.
    moduli : ndarray, shape (n,), optional
        About those of A's eigenvalues: they tell when a low rank is worth a try.
    tol : float
        The iteration ends when a round adds less than this, relative to the largest entry of H.
    rounds : int
        At most this many.
    rank : float
        Share of n up to which a rank counts as low.
    cut : float
        What is neglected of A, relative to one, when it is replaced by a matrix of low rank.
    """
    n = A.shape[0]
    decay = -np.log(np.maximum(np.abs(np.linalg.eigvals(A)) if moduli is None else moduli, 1e-300))
    for done in range(rounds):
        # A is the 2^done-th power of the closed loop, whose poles but a few are close to the open loop's
        likely = int(1.06 * np.count_nonzero(decay * 2.0**done < -np.log(cut))) + 8
        if n > 32 and likely <= rank * n:
            factors = _low_rank(A, likely, cut)
            if factors is not None:
                return _finish_low_rank(*factors, G, H, tol, rounds, cut)
        W = _inverse(G, H)
        if W is None:
            return None
        left = A @ W
        gain = A.conj().T @ (H @ (W @ A))
        G = G + (left @ G) @ A.conj().T
        H = H + gain
        A = left @ A
        G, H = 0.5 * (G + G.conj().T), 0.5 * (H + H.conj().T)
        if not np.isfinite(gain).all():
            return None
        if np.abs(gain).max() <= tol * np.abs(H).max():
            return H
    return None


def _inverse(G: Array, H: Array) -> Array | None:
    """``(I - G H)^{-1}``, or ``None``."""
    W = -(G @ H)
    W[np.diag_indices_from(W)] += 1.0
    # LAPACK itself: SciPy's lu_factor warns of a singular matrix, which is no news here
    lapack: Any = scipy.linalg.get_lapack_funcs(("getrf", "getri"), (W,))
    factorize, invert = lapack
    factor, pivots, info = factorize(W)
    if info != 0:
        return None
    inverse, info = invert(factor, pivots, lwork=64 * W.shape[0], overwrite_lu=1)
    return np.asarray(inverse) if info == 0 else None


def _low_rank(A: Array, rank: int, cut: float) -> tuple[Array, Array, Array] | None:
    """``(U, T, V)``, U and V orthonormal, ``A = U T V^*`` up to `cut`, by a randomized range finder; or ``None``."""
    probe = np.random.default_rng(0).normal(size=(A.shape[1], rank))
    U = np.linalg.qr(A @ probe)[0]
    rest = U.conj().T @ A
    if not np.linalg.norm(A - U @ rest) <= cut * np.sqrt(A.shape[0]):
        return None
    V, T = np.linalg.qr(rest.conj().T)
    return U, np.ascontiguousarray(T.conj().T), V


def _finish_low_rank(
    U: Array, T: Array, V: Array, G: Array, H: Array, tol: float, rounds: int, cut: float
) -> Array | None:
    r"""Go on with ``A = U T V^*``, ``G + U \Gamma U^*``, ``H + V \Eta V^*``, where only the small matrices change.

    The interface of two halves, :math:`x = Ua' + G\lambda,\ \lambda = Vb' + Hx`, is solved once for
    :math:`V^*x = \alpha a'+\beta b'` and :math:`U^*\lambda = \gamma a'+\alpha^*b'`; what changes enters as
    :math:`a' = a+\Gamma U^*\lambda,\ b' = b+\Eta V^*x`. Every other round it starts again in smaller spaces, if the
    rank has fallen by half.
    """
    r, size = T.shape[0], float(np.abs(H).max())
    W = _inverse(G, H)
    if W is None:
        return None
    through, back = W @ U, V.conj().T @ W
    alpha, beta, gamma = back @ U, (back @ G) @ V, U.conj().T @ (H @ through)
    Gamma, Eta = np.zeros_like(T), np.zeros_like(T)
    top, low = np.hstack([alpha, beta]), np.hstack([gamma, alpha.conj().T])
    eye = np.eye(r)
    for done in range(rounds):
        if done % 2 and r > 24:
            left, values, right = np.linalg.svd(T)
            keep = max(int((values > 0.1 * cut).sum()), 1)
            if keep <= r // 2:
                G, H = G + U @ Gamma @ U.conj().T, H + V @ Eta @ V.conj().T
                small = np.diag(values[:keep]).astype(T.dtype)
                U, V = U @ left[:, :keep], V @ right[:keep].conj().T
                return _finish_low_rank(U, small, V, G, H, tol, rounds, cut)
        matrix = np.block([[eye - beta @ Eta, -alpha @ Gamma], [-alpha.conj().T @ Eta, eye - gamma @ Gamma]])
        try:
            answer = np.linalg.solve(matrix, np.vstack([top, low]))
        except np.linalg.LinAlgError:
            return None
        alpha_now, reflected, observed = answer[:r, :r], answer[:r, r:], answer[r:, :r]
        gain = T.conj().T @ observed @ T
        Gamma = Gamma + T @ reflected @ T.conj().T
        Eta = Eta + gain
        T = T @ alpha_now @ T
        Gamma, Eta = 0.5 * (Gamma + Gamma.conj().T), 0.5 * (Eta + Eta.conj().T)
        if not np.isfinite(gain).all():
            return None
        if np.abs(gain).max() <= tol * max(size, float(np.abs(Eta).max())):
            X = H + V @ Eta @ V.conj().T
            return np.asarray(0.5 * (X + X.conj().T))
    return None
