r"""Fewer inputs and outputs for a modal sum, with what its gain lost.

With ``B = L Q^H`` (QR of ``B^H``), :math:`\|C r B\| \le \|C r L\|\sqrt{1+\|Q^HQ-I\|}` plus the
residual of the factorization; the same for C. The factors are checked after the fact.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import SECOND_ORDER, gamma, row_norms, up
from theory.norms.responses.modes import ModalSum

Array = NDArray[Any]


def compress(modes: ModalSum, *, factor: int = 1) -> ModalSum:
    """Return a modal sum of at most n inputs and outputs; what its gain lost is noted in it.

    With `factor` only inputs and outputs of more than ``factor n`` are touched.
    """
    n = modes.poles.size
    if modes.D.any() or (modes.B.shape[1] <= factor * n and modes.C.shape[0] <= factor * n):
        return modes
    B, C, relative = modes.B, modes.C, 0.0
    losses = np.zeros(n)
    if B.shape[1] > factor * n:
        B, error, defect = short_rows(modes.B)
        losses, relative = losses + error * modes.column_sizes, relative + defect
    if C.shape[0] > factor * n:
        adjoint, error, defect = short_rows(modes.C.conj().T)
        C = np.ascontiguousarray(adjoint.conj().T)
        losses, relative = losses + error * row_norms(B, axis=1), relative + defect
    D = np.zeros((C.shape[0], B.shape[1]))
    return replace(
        modes, B=B, C=C, D=D, relative_loss=up(SECOND_ORDER * relative), mode_losses=up(SECOND_ORDER * losses, 8)
    )


def short_rows(B: Array) -> tuple[Array, Array, float]:
    """Return L (n, n) with ``B = L Q^H``, a bound of the residual of each row, and of ``|Q^H Q - I|``."""
    n, m = B.shape
    Q, R = np.linalg.qr(B.conj().T)
    L = np.ascontiguousarray(R.conj().T)
    residual = (
        row_norms(B - L @ Q.conj().T, axis=1) + gamma(n) * row_norms(L, axis=1) * np.linalg.norm(Q) * SECOND_ORDER
    )
    defect = float(np.linalg.norm(Q.conj().T @ Q - np.eye(n))) + SECOND_ORDER * gamma(m) * n
    return L, residual, defect
