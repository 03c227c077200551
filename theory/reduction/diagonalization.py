r"""Back to a diagonal system: what a dense reduced system must become to run in a layer's scan."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.errors import AccuracyError
from theory.systems.margin import discrete_margin
from theory.systems.system import DiagonalStateSpace, StateSpace

Array = NDArray[Any]


class Diagonalization(NamedTuple):
    """A diagonal system and how well it stands for the dense one it came from."""

    system: DiagonalStateSpace
    condition: float  #: Frobenius condition number of the matrix of unit eigenvectors, at least n
    perturbation: float  #: bound on the H-infinity distance to the dense system, first order in eps; inf if unstable


def rediagonalize(system: StateSpace, *, condition_limit: float = 1e8) -> DiagonalStateSpace:
    """Return the diagonal system with the transfer function of the dense one: :func:`diagonalize`, figures left out."""
    return diagonalize(system, condition_limit=condition_limit).system


def diagonalize(
    system: StateSpace, *, condition_limit: float = 1e8, uncertainty: Array | None = None
) -> Diagonalization:
    r"""Diagonalize a dense system: :math:`A=V\Lambda V^{-1}`, same transfer function.

    A real system becomes one of conjugate pairs: one pole of each pair is stored (positive imaginary part), a real
    pole takes one stored state with half its ``C``. A complex one keeps all its poles, ``conjugate_pairs=False``.
    Every state is scaled to :math:`\|b_i\|=\|c_i\|`.

    Parameters
    ----------
    system : StateSpace
        ``n`` states; stable or not. Same ``dt`` and ``D`` in the result, whose `delay` is 1.
    condition_limit : float, keyword only
        Largest eigenvector condition number; the poles are off by up to eps times that, relative to the norm of ``A``.
    uncertainty : ndarray, shape (n, n), optional, keyword only
        Entrywise bound on what ``A`` is already off by; propagated into the perturbation.

    Returns
    -------
    Diagonalization
        ``system, condition, perturbation``.

    Raises
    ------
    AccuracyError
        The condition number exceeds the limit (poles that nearly coincide without being repeated modes).

    Notes
    -----
    With :math:`\Delta=V^{-1}(AV-V\Lambda)` the distance is at most :math:`\sum_{ij}\frac{\|c_i\|}{m_i}|\Delta_{ij}|
    \frac{\|b_j\|}{m_j}` to first order, :math:`m_i` the stability margin of pole i. Cost O(n^3).
    """
    n = system.n
    if n == 0:
        empty = DiagonalStateSpace(
            np.zeros(0), np.zeros((0, system.m)), np.zeros((system.p, 0)), system.D, dt=system.dt,
            conjugate_pairs=system.is_real,
        )  # fmt: skip
        return Diagonalization(empty, 1.0, 0.0)
    poles, V, rows, condition = _stored_eigenvectors(system.A)
    if not condition <= condition_limit:
        raise AccuracyError(
            f"the eigenvectors of the {n}-state system have condition number {condition:.3g}, past the limit "
            f"{condition_limit:.3g}, so a diagonal system would not have its transfer function; choose an order one "
            "lower or higher, or raise condition_limit",
            condition,
        )
    B, C = rows @ system.B, system.C @ V
    margin = discrete_margin(poles) if system.is_discrete else -poles.real
    implied = np.where(system.is_real & (poles.imag != 0), 2.0, 1.0)  # a stored pole and its conjugate
    if (margin > 0).all():
        # rounding of the products below, a little more than its root-mean-square growth
        wobble = (4.0 + np.sqrt(n)) * EPS
        doubt = wobble * np.abs(system.A) if uncertainty is None else wobble * np.abs(system.A) + uncertainty
        moved = np.abs(_times(system.A, V) - V * poles) + doubt @ np.abs(V) + wobble * np.abs(V) * np.abs(poles)
        residual = np.abs(rows) @ moved
        into, out = implied * np.linalg.norm(B, axis=1) / margin, implied * np.linalg.norm(C, axis=0) / margin
        perturbation = float(out @ residual @ into)
    else:
        perturbation = float("inf")
    if system.is_real:
        C = np.where(poles.imag == 0, 0.5 * C, C)
    strength, sight = np.linalg.norm(B, axis=1), np.linalg.norm(C, axis=0)
    alive = (strength > 0) & (sight > 0)
    scale = np.where(alive, np.sqrt(np.where(alive, sight, 1.0) / np.where(alive, strength, 1.0)), 1.0)
    diagonal = DiagonalStateSpace(
        poles, B * scale[:, None], C / scale, system.D, dt=system.dt, conjugate_pairs=system.is_real
    )
    return Diagonalization(diagonal, condition, perturbation)


def _times(A: Array, V: Array) -> Array:
    """``A @ V``; a real ``A`` times a complex ``V`` without making ``A`` complex."""
    split = A.dtype.kind == "f" and V.dtype.kind == "c"
    product: Array = A @ V.real + 1j * (A @ V.imag) if split else A @ V
    return product


def _stored_eigenvectors(A: Array) -> tuple[Array, Array, Array, float]:
    """Eigenvalues, unit eigenvectors, the rows of the inverse, and the Frobenius condition number.

    Of a real matrix one of each conjugate pair, the one with positive imaginary part, from a real inverse:
    ``[Re v, Im v]`` spans what ``[v, conj v]`` does, and its inverse has the rows ``2 Re y`` and ``-2 Im y``.
    """
    poles, V = np.linalg.eig(A)
    if A.dtype.kind == "f":
        chosen = poles.imag >= 0
        poles, V = poles[chosen], V[:, chosen]
    paired = poles.imag != 0 if A.dtype.kind == "f" else np.zeros(poles.shape, dtype=bool)
    basis = np.concatenate([V.real, V.imag[:, paired]], axis=1) if A.dtype.kind == "f" else V
    try:
        inverse = np.linalg.inv(basis)
    except np.linalg.LinAlgError:  # exactly singular
        return poles, V, V.conj().T, float("inf")
    rows = inverse[: poles.size].astype(complex)
    rows[paired] = 0.5 * (rows[paired] - 1j * inverse[poles.size :])
    weight = np.where(paired, 2.0, 1.0)
    condition = np.sqrt(poles.size + paired.sum()) * np.sqrt(weight @ np.sum(np.abs(rows) ** 2, axis=1))
    return poles, V, rows, float(condition)
