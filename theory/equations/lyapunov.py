r"""Cholesky factors of Gramians without the Gramians: Hammarling's recursion :cite:p:`H82`, complex and triangular.

For :math:`P-TPT^*=GG^*` (or :math:`TP+PT^*+GG^*=0`) with :math:`T` upper triangular, one state is split off at a time:
the last row of :math:`G` is rotated into one entry, one column of the factor follows from a triangular solve, and what
remains is an equation of the same kind whose right side is again a factor. Only unitary transformations act on
:math:`G`, so small Hankel singular values survive that :math:`P` in floating point has lost.

For diagonal :math:`T` the triangular solve is a division and the update is the Blaschke factor
:math:`(\lambda-\lambda_i)/(1-\bar\lambda\lambda_i)`: the tangential Schur algorithm, O(n^2 m), with every entry to high
relative accuracy when the differences of the poles are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.equations.kautz import channel_factor
from theory.systems.margin import disc_gap, discrete_margin, pole_gap

Array = NDArray[Any]


def _reflect(G: Array, row: Array) -> Array:
    """Apply on the right the reflection that turns `row` into ``[g, 0, ..., 0]``, g >= 0."""
    size = np.abs(row).max()
    if size == 0:
        return G
    v = row.conj() / size
    v /= np.linalg.norm(v)
    phase = 1.0 if v[0] == 0 else v[0] / abs(v[0])
    v[0] += phase  # now |v|^2 = 2 (1 + |head|), between 2 and 4
    G = G - (2.0 / np.vdot(v, v).real) * np.outer(G @ v, v.conj())
    G[:, 0] *= -phase
    return G


def thin_generator(G: Array) -> Array:
    """A generator with at most as many columns as rows and the same ``G G^*``, by QR; batched."""
    if G.shape[-1] <= G.shape[-2]:
        return G
    R: Array = np.linalg.qr(np.swapaxes(G.conj(), -1, -2), mode="r")  # type: ignore[assignment]
    return np.swapaxes(R, -1, -2).conj()


def diagonal_factor(poles: Array, G: Array, discrete: bool, block: int = 32) -> Array:
    r"""Return a factor of the solution of the Stein (Lyapunov) equation with :math:`T=\mathrm{diag}(\text{poles})`.

    Parameters
    ----------
    poles : ndarray, shape (..., n), complex
        Stable poles, in any order, repeated or not.
    G : ndarray, shape (..., n, m)
        Generator: ``B``, or ``C^*`` with conjugated poles for the observability Gramian.
    discrete : bool
        Time base.
    block : int
        Steps between two updates of a generator of several columns; a matter of speed only.

    Returns
    -------
    ndarray, shape (..., n, n), complex
        Column k belongs to pole k and is zero for the poles before it.
    """
    n = poles.shape[-1]
    L = np.zeros((*poles.shape, n), dtype=complex)
    G = thin_generator(np.asarray(G, dtype=complex)).copy()
    if n == 0 or G.shape[-1] == 0:
        return L
    if G.shape[-1] == 1:
        return channel_factor(poles, G[..., 0], discrete)
    margin = discrete_margin(poles) if discrete else -poles.real
    decay = np.sqrt(margin * (2.0 - margin) if discrete else 2.0 * margin)  # root of 1 - |l|^2, or of -2 Re l
    gaps = pole_gap(poles[..., :, None], poles[..., None, :], discrete)
    # One step multiplies row i by the inner factor I - (1 - beta_ik) w w^*, with w along the row of pole k and
    # beta_ik the Blaschke factor. The updates of a block are kept as Y W^* and applied together.
    for start in range(0, n, block):
        stop = min(start + block, n)
        rows = G[..., start:, :]
        Y = np.zeros((*rows.shape[:-1], stop - start), dtype=complex)
        W = np.zeros((*rows.shape[:-2], rows.shape[-1], stop - start), dtype=complex)
        for k in range(start, stop):
            j = k - start
            own = rows[..., j, :] - (W[..., :j].conj() @ Y[..., j, :j, None])[..., 0]
            length = np.linalg.norm(own, axis=-1)[..., None]
            w = np.where(length == 0, 0.0, own.conj() / np.where(length == 0, 1.0, length))[..., None]
            pending = np.swapaxes(W[..., :j], -1, -2).conj() @ w
            along = (rows[..., j:, :] @ w - Y[..., j:, :j] @ pending)[..., 0]
            along[..., :1] = length
            gap = gaps[..., k:, k]
            L[..., k:, k] = decay[..., k : k + 1] * along / gap
            blaschke = (poles[..., k : k + 1] - poles[..., k:]) / gap
            Y[..., j:, j], W[..., j] = (1.0 - blaschke) * along, w[..., 0]
        G[..., stop:, :] -= Y[..., stop - start :, :] @ np.swapaxes(W, -1, -2).conj()
    return L


def triangular_factor(T: Array, G: Array, discrete: bool) -> Array:
    """Return ``L`` with ``L L^*`` the solution of the Stein (Lyapunov) equation for upper triangular ``T``, (n, n)."""
    n = T.shape[0]
    L = np.zeros((n, n), dtype=complex)
    G = thin_generator(np.asarray(G, dtype=complex))
    if n == 0 or G.shape[-1] == 0:
        return L
    poles = np.diag(T).copy()
    margin = discrete_margin(poles) if discrete else -poles.real
    decay = margin * (2.0 - margin) if discrete else 2.0 * margin
    for k in range(n - 1, -1, -1):
        G = _reflect(G, G[k])
        own, s = poles[k].conj(), np.sqrt(decay[k])
        last = G[k, 0].real / s
        t, g = T[:k, k], G[:k, 0]
        if discrete:
            M = -own * T[:k, :k]
            M.flat[:: k + 1] = disc_gap(poles[:k], poles[k])
            u = _substituted(M, g * s + own * t * last) if k else g
            w = T[:k, :k] @ u + t * last
            remainder = poles[k] * g - s * w
        else:
            M = T[:k, :k].copy()
            M.flat[:: k + 1] += own
            u = -_substituted(M, g * s + t * last) if k else g
            remainder = g - s * u
        L[:k, k], L[k, k] = u, last
        G = G[:k]
        G[:, 0] = remainder
    return L


def _substituted(M: Array, right: Array) -> Array:
    """Solve with an upper triangular matrix: LAPACK itself, as SciPy's checks cost more than small ones do."""
    by_columns = bool(M.flags.f_contiguous)
    u, info = scipy.linalg.lapack.ztrtrs(M if by_columns else M.T, right, lower=not by_columns, trans=not by_columns)
    if info:
        raise np.linalg.LinAlgError("the Lyapunov equation is singular")
    return np.asarray(u)


def real_factor(L: Array) -> Array:
    """A real square factor of ``Re(L L^*)``, which is ``L L^*`` where that is real; batched."""
    wide = np.concatenate([L.real, L.imag], axis=-1)
    R: Array = np.linalg.qr(np.swapaxes(wide, -1, -2), mode="r")  # type: ignore[assignment]
    return np.swapaxes(R, -1, -2)
