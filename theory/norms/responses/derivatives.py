r"""Bounds of the derivatives of a response, and of the curvature of its squared gain, on an arc.

From Taylor coefficients :math:`G_k` at the centre and a bound :math:`T \ge \sup\|G^{(K)}\|/K!` on the arc
:math:`|t|\le h`, Lagrange remainders give :math:`g_i \ge \sup\|G^{(i)}\|/i!`. The squared gain in a fixed direction
is :math:`u^*H(t)u` with :math:`H = G^*G`; its Taylor coefficients :math:`H_k = \sum_{i+j=k} G_i^*G_j` keep
the cancellation that makes the gain of an all-pass system flat, and

.. math:: \sup\|H''\| \le \sum_{k=2}^{K-1} k(k-1)\|H_k\|h^{k-2} + K(K-1)h^{K-2}\sum_{i+j=K} g_i g_j .
"""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import OPERATIONS_4000, frobenius, gamma

Array = NDArray[Any]


def derivative_bounds(
    coefficients: list[Array], noise: list[Array], tail: Array, h: Array, crude: Array
) -> tuple[Array, Array, Array]:
    """Return bounds of ``sup|G'|``, ``sup|G''|`` and ``sup|H''|`` on each arc, (S,) each.

    `coefficients` are the computed :math:`G_0 \\dots G_{K-1}`, each (S, p, m), and `noise` bounds their errors;
    `tail` is T and `crude` a bound of the gain on the arc.
    """
    K = len(coefficients)
    size = [frobenius(value) + error for value, error in zip(coefficients, noise, strict=True)]
    g = []
    for i in range(K + 1):
        total = comb(K, i) * h ** (K - i) * tail
        for k in range(i, K):
            total = total + comb(k, i) * size[k] * h ** (k - i)
        g.append(total)
    g[0] = np.fmin(g[0], crude)
    G = (
        coefficients
        if coefficients[0].shape[1] >= coefficients[0].shape[2]
        else [_adjoint(value) for value in coefficients]
    )
    rounding = gamma(G[0].shape[1] + K)
    curvature = K * (K - 1) * h ** (K - 2) * sum(g[i] * g[K - i] for i in range(K + 1))
    for k in range(2, K):
        H: Any = 0.0
        error = np.zeros(h.size)
        for i in range(k // 2 + 1):
            j = k - i
            product = _adjoint(G[i]) @ G[j]
            H = H + (product if i == j else product + _adjoint(product))
            weight = 1.0 if i == j else 2.0
            error = error + weight * (noise[i] * size[j] + size[i] * noise[j] + rounding * size[i] * size[j])
        curvature = curvature + k * (k - 1) * (frobenius(H) + error) * h ** (k - 2)
    return g[1] * (1 + OPERATIONS_4000), 2.0 * g[2] * (1 + OPERATIONS_4000), curvature * (1 + OPERATIONS_4000)


def _adjoint(stack: Array) -> Array:
    return np.conj(np.swapaxes(stack, -1, -2))
