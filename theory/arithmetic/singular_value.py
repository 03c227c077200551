"""Rigorous largest singular values of a stack of small matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import UNIT, frobenius, gamma, up

Array = NDArray[Any]


def largest_gain(stack: Array) -> tuple[Array, Array]:
    r"""Return ``(estimate, upper)`` of the largest singular value of every matrix of a stack (S, p, m).

    `upper` is proved: with a computed, nearly unitary U of eigenvectors of :math:`H = G^*G`,
    :math:`\lambda_{\max}(H) \le \max_i\big(M_{ii}+\sum_{j\ne i}|M_{ij}|\big)\,/\,(1-\|U^*U-I\|)` where :math:`M=U^*HU`
    (Gershgorin), plus the rounding of forming H and M. No property of the eigenvalue solver is trusted.
    """
    p, m = stack.shape[-2:]
    if min(p, m) == 0:
        zero = np.zeros(stack.shape[0])
        return zero, zero
    whole = frobenius(stack)
    if min(p, m) == 1:
        return np.sqrt(np.sum(stack.real**2 + stack.imag**2, axis=(-2, -1))), whole
    G = stack if m <= p else np.conj(np.swapaxes(stack, -1, -2))
    k, tall = G.shape[-1], G.shape[-2]
    scale = np.where((whole > 0) & np.isfinite(whole), whole, 1.0)
    G = np.where(np.isfinite(whole)[:, None, None], G, 0.0) / scale[:, None, None]
    H = np.conj(np.swapaxes(G, -1, -2)) @ G
    values, U = np.linalg.eigh(H)
    adjoint = np.conj(np.swapaxes(U, -1, -2))
    M = adjoint @ (H @ U)
    defect = np.abs(adjoint @ U - np.eye(k)).sum(axis=-1).max(axis=-1) + k * k * gamma(k)
    diagonal = np.einsum("sii->si", M).real
    radius = np.abs(M).sum(axis=-1) - np.abs(np.einsum("sii->si", M))
    rounding = gamma(tall) + 4.0 * k * gamma(k) + gamma(4)
    bound = (diagonal + radius).max(axis=-1) * (1.0 + 4 * k * UNIT) + rounding
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = np.where(defect < 0.5, bound / (1.0 - defect), np.inf)
    bound = np.minimum(np.sqrt(np.maximum(bound, 0.0)), 1.0) * scale
    estimate = np.sqrt(np.maximum(values[:, -1], 0.0)) * scale
    return np.where(np.isfinite(whole), estimate, np.inf), np.where(np.isfinite(whole), up(bound), np.inf)


def gain_of(matrix: Array) -> float:
    r"""Return :math:`|u^*Gv|/(\|u\|\|v\|)` at computed leading singular vectors, rounded down."""
    p, m = matrix.shape
    left, _, right = np.linalg.svd(matrix)
    u, v = left[:, 0], right[0].conj()
    value = abs(complex(u.conj() @ (matrix @ v)))
    size = float(np.linalg.norm(matrix))
    norms = float(np.linalg.norm(u) * np.linalg.norm(v)) * (1.0 + gamma(p + m))
    return max((value - (gamma(p) + gamma(m)) * 1.01 * size) / norms * (1.0 - gamma(4)), 0.0)
