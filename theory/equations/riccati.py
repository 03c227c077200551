r"""The stabilizing solution of a Riccati equation by doubling: a guess for a proof, not a proof.

.. math:: X = A^*X(I - GX)^{-1}A + H,\qquad G, H \succeq 0,

is solved by :math:`A_+=AW^{-1}A,\ G_+=G+AW^{-1}GA^*,\ H_+=H+A^*HW^{-1}A` with :math:`W=I-GH`; H converges to X
quadratically, and after k rounds :math:`A_k` is the 2^k-th power of the closed loop (Chu, Fan, Lin, Wang, Int. J.
Control 77, 2004). Near the norm of a lightly damped system some 25 rounds are needed. Two things make them cheap:

- Where G has an inverse, take it for the identity. Then :math:`Z=I-X` solves :math:`Z=Q-A^*Z^{-1}A` with
  :math:`Q=I-H+A^*A`, and a round of cyclic reduction, :math:`R=Q-P,\ A_+=AR^{-1}A,\ Q_+=Q-A^*R^{-1}A,\
  P_+=P+AR^{-1}A^*` from P = 0 (Meini, Math. Comp. 71, 2002), is one Cholesky factorization and symmetric products:
  less than half the work. It loses digits while A is close to the identity, so the first rounds are the others.
- A_k soon has a low rank, :math:`A=UV^*`. What is missing in X is :math:`VSV^*`, and S solves a Riccati equation of
  that size.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    tol: float = 1e-16,
    rounds: int = 60,
    rank: float = 0.65,
    cut: float = 1e-12,
    ready: float = 1e-3,
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
    ready : float
        Rounds of cyclic reduction are used once A's eigenvalues are this far from the unit circle; infinite: never.
    """
    moduli = np.abs(np.linalg.eigvals(A)) if moduli is None else moduli
    decay = -np.log(np.maximum(moduli, 1e-300))
    kind = np.result_type(A, G, H)
    A, G, H = (matrix.astype(kind) for matrix in (A, G, H))
    with np.errstate(all="ignore"):
        return _Doubling(A=A, G=G, H=H, decay=decay, tol=tol, rounds=rounds, rank=rank, cut=cut, ready=ready).solve()


@dataclass(kw_only=True)
class _Doubling:
    """The iteration; `decay` are minus the logarithms of the moduli that A's eigenvalues are likely to have."""

    A: Array
    G: Array
    H: Array
    decay: Array
    tol: float
    rounds: int
    rank: float
    cut: float
    ready: float
    spare: float = field(default=1.06, init=False)
    """How much larger than the number of slow eigenvalues a rank may be: grows when the rank was not that low."""

    def solve(self) -> Array | None:
        while self.rounds > 0:
            factors = self.low_rank()
            if factors is not None:
                return self._in_range(*factors)
            L = self._root()
            if L is not None:
                return _Cyclic(self, L).solve()
            W = self._inverse()
            if W is None:
                return None
            left = self.A @ W
            gain = self.A.conj().T @ (self.H @ (W @ self.A))
            self.G = _hermitian(self.G + (left @ self.G) @ self.A.conj().T)
            self.H = _hermitian(self.H + gain)
            self.A = left @ self.A
            self.doubled()
            size = np.abs(gain).max()
            if not np.isfinite(size):
                return None
            if size <= self.tol * np.abs(self.H).max():
                return self.H
        return None

    def doubled(self) -> None:
        self.decay, self.rounds = 2.0 * self.decay, self.rounds - 1

    def _root(self) -> Array | None:
        """The Cholesky factor of G, if it is far from singular and A from the identity."""
        if not -np.expm1(-self.decay.min()) >= self.ready:
            return None
        L, info = _lapack("potrf", self.G)(self.G, lower=1)
        # what is left of a column after the ones before it were taken off
        return L if info == 0 and (np.abs(np.diag(L)) ** 2 > 0.1 * np.diag(self.G).real).all() else None

    def _inverse(self) -> Array | None:
        """``(I - G H)^{-1}``, or ``None``."""
        W = -(self.G @ self.H)
        W[np.diag_indices_from(W)] += 1.0
        # LAPACK itself: SciPy's lu_factor warns of a singular matrix, which is no news here
        factor, pivots, info = _lapack("getrf", W)(W)
        if info != 0:
            return None
        inverse, info = _lapack("getri", W)(factor, pivots, lwork=64 * W.shape[0], overwrite_lu=1)
        return np.asarray(inverse) if info == 0 else None

    def low_rank(self) -> tuple[Array, Array] | None:
        """``(U, V)``, V orthonormal, ``A = U V^*`` up to `cut`, by a randomized range finder; or ``None``."""
        n = self.A.shape[0]
        likely = int(self.spare * np.count_nonzero(self.decay < -np.log(self.cut))) + 8
        if n <= 32 or likely > self.rank * n:
            return None
        probe = np.random.default_rng(0).normal(size=(n, likely))
        V = np.linalg.qr(self.A.conj().T @ probe)[0]
        U = self.A @ V
        if not np.linalg.norm(self.A - U @ V.conj().T) <= self.cut * np.sqrt(n):
            self.spare += 0.2
            return None
        return U, V

    def _in_range(self, U: Array, V: Array) -> Array | None:
        """Finish with ``A = U V^*``: X = H + V S V^*."""
        W = self._inverse()
        if W is None:
            return None
        right, left = W @ U, V.conj().T @ W
        S = self.smaller(left @ U, left @ self.G @ V, U.conj().T @ (self.H @ right))
        return None if S is None else self.H + _hermitian(V @ S @ V.conj().T)

    def smaller(self, A: Array, G: Array, H: Array) -> Array | None:
        """Solve an equation in the range of A: its eigenvalues are the slow ones that are left."""
        decay = np.sort(self.decay)[: A.shape[0]]
        return replace(self, A=A, G=_hermitian(G), H=_hermitian(H), decay=decay).solve()


class _Cyclic:
    """Go on in coordinates in which G is the identity, by cyclic reduction; of E = I - Q and P the lower triangles."""

    def __init__(self, outer: _Doubling, L: Array) -> None:
        self.outer, self.L = outer, L
        complex_ = np.iscomplexobj(L)
        self.adjoint = 2 if complex_ else 1
        functions: Any = scipy.linalg.get_blas_funcs(("trsm", "gemm", "herk" if complex_ else "syrk"), (L,))
        self.divide, self.times, self.gram = functions
        self.factorize = _lapack("potrf", L)

    def solve(self) -> Array | None:
        outer, L, t = self.outer, self.L, self.adjoint
        outer.A = self.divide(1.0, L, np.asfortranarray(outer.A @ L), lower=1, overwrite_b=1)
        E = np.asfortranarray(L.conj().T @ outer.H @ L)
        E = self.gram(-1.0, outer.A, 1.0, E, trans=t, lower=1, overwrite_c=1)
        P, R, one, two = (np.zeros_like(E) for _ in range(4))  # used again: fresh pages cost as much as half a product
        while outer.rounds > 0:
            np.negative(np.add(E, P, out=R), out=R)
            R[np.diag_indices_from(R)] += 1.0
            R, info = self.factorize(R, lower=1, overwrite_a=1, clean=0)
            if info != 0:
                return None
            factors = outer.low_rank()
            if factors is not None:
                return self._in_range(*factors, R, E)
            one[:], two[:] = outer.A, outer.A.conj().T
            one = self.divide(1.0, R, one, lower=1, overwrite_b=1)
            two = self.divide(1.0, R, two, lower=1, overwrite_b=1)
            E = self.gram(1.0, one, 1.0, E, trans=t, lower=1, overwrite_c=1)
            P = self.gram(1.0, two, 1.0, P, trans=t, lower=1, overwrite_c=1)
            outer.A = self.times(1.0, two, one, 0.0, outer.A, trans_a=t, overwrite_c=1)
            outer.doubled()
            size = np.linalg.norm(one, axis=0).max() ** 2
            if not np.isfinite(size):
                return None
            if size <= outer.tol * np.abs(np.diag(E)).max():
                return self._back(_mirrored(E))
        return None

    def _in_range(self, U: Array, V: Array, R: Array, E: Array) -> Array | None:
        """Finish with ``A = U V^*``: Z = Q - V S V^*; R is the Cholesky factor of Q - P."""
        r = V.shape[1]
        both = self.divide(1.0, R, np.asfortranarray(np.hstack([V, U])), lower=1, overwrite_b=1)
        inner = both.conj().T @ both
        S = self.outer.smaller(inner[:r, r:], inner[:r, :r], inner[r:, r:])
        return None if S is None else self._back(_mirrored(E) + V @ S @ V.conj().T)

    def _back(self, X: Array) -> Array:
        """X in the coordinates of the outer problem."""
        X = self.divide(1.0, self.L, np.asfortranarray(X), lower=1, trans_a=self.adjoint, overwrite_b=1)
        X = self.divide(1.0, self.L, X, side=1, lower=1, overwrite_b=1)
        return _hermitian(X)


def _lapack(name: str, like: Array) -> Any:
    return scipy.linalg.get_lapack_funcs(name, (like,))


def _hermitian(X: Array) -> Array:
    return np.asarray(0.5 * (X + X.conj().T))


def _mirrored(lower: Array) -> Array:
    """A Hermitian matrix from its lower triangle."""
    X = np.tril(lower)
    return np.asarray(X + np.tril(X, -1).conj().T)
