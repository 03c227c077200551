r"""A test that the gain of a modal sum is below a level at one point of the boundary, rounding accounted for.

For any Hermitian S with :math:`B^HSB\le I`, :math:`\|C\,\mathrm{diag}(r)B\|\le\gamma` follows from
:math:`\gamma^2 S - \bar r\circ(C^HC)\circ r^T \ge 0` (Schur complement of :math:`S^{-1}\ge BB^H`): one Cholesky
factorization of the number of modes, and no product. With a feedthrough, :math:`\gamma^2I-G^HG\ge0` is tested instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.arithmetic.definite import positive_definite
from theory.arithmetic.rounding import OPERATIONS_4, SECOND_ORDER, frobenius, gamma, row_norms, up
from theory.norms.responses.modes import ModalSum

Array = NDArray[Any]

RIDGE = 1e-10
"""Relative to the diagonal of B B*: makes it invertible; the square of a level loses as much, a hundredth of 1e-8."""

SHORTFALLS = (0.0, 1e-9, 1e-6)
"""By how much B* S B may exceed I, tried in turn: the level test loses half of it."""

TWO_PRODUCTS = 2.1
"""The rounding of two products in a row, each gamma, to second order."""

ENTRY = 8e-16
"""Relative: the rounding of an entry of ``level^2 S``, and of its subtraction."""


class LevelTest:
    """Proofs that the gain of a modal sum is below a level, at one point of the boundary at a time."""

    def __init__(self, modes: ModalSum) -> None:
        self.modes = modes
        self.kernel: Array | None = None
        n = modes.poles.size
        if modes.D.any() or modes.B.shape[1] > 2 * n:
            return
        B, k = modes.B, modes.B.shape[1]
        gram = B @ B.conj().T
        size = np.real(np.diag(gram))
        if not (size > 0).all():
            return
        try:
            factor = scipy.linalg.cho_factor(gram + np.diag(RIDGE * size), lower=True)
        except scipy.linalg.LinAlgError:
            return
        S = scipy.linalg.cho_solve(factor, np.eye(n))
        S = 0.5 * (S + S.conj().T) * (1.0 - 2 * RIDGE)
        # B^H S B <= I, proved: S <= (B B^H)^{-1} on the range of B is all that the level test needs
        inner = B.conj().T @ (S @ B)
        error = gamma(n) * TWO_PRODUCTS * float(np.linalg.norm(row_norms(B, axis=1))) ** 2 * float(np.linalg.norm(S))
        shortfall = 0.0
        for shortfall in SHORTFALLS:
            if positive_definite((1.0 + shortfall) * np.eye(k) - inner, shift=error):
                break
        else:
            return
        self.kernel = S / (1.0 + SECOND_ORDER * shortfall)
        self.outer = modes.C.conj().T @ modes.C
        self.column = modes.column_sizes
        self.kernel_size = float(np.linalg.norm(self.kernel)) * (1 + RIDGE)

    def below(self, r: Array, level: float) -> bool:
        """Whether ``|D + C diag(r) B| <= level`` is proved; `r` is one row of mode functions."""
        modes = self.modes
        n = modes.poles.size
        if self.kernel is not None and self._below_by_kernel(r, level):
            return True
        slack = gamma(n + 40) * float(up(np.abs(r) @ modes.weights, n + 8)) + gamma(2) * float(frobenius(modes.D))
        G = (modes.C * r) @ modes.B + modes.D
        G = G if G.shape[0] >= G.shape[1] else G.conj().T
        inner = scipy.linalg.blas.zherk(1.0, np.asfortranarray(G), trans=2, lower=1)
        reduced = (level - slack) * (1.0 - OPERATIONS_4)
        if reduced <= 0:
            return False
        shift = gamma(G.shape[0]) * float(frobenius(G)) ** 2 * SECOND_ORDER
        inner *= -1.0
        inner[np.diag_indices_from(inner)] += reduced * reduced
        return positive_definite(inner, shift=shift)

    def _below_by_kernel(self, r: Array, level: float) -> bool:
        """``level^2 S - conj(r) Q r > 0`` up to the relative errors of r, Q and the products."""
        n = self.modes.poles.size
        assert self.kernel is not None
        matrix = self.outer * r[None, :]
        matrix *= -r.conj()[:, None]
        matrix += (level * level * (1 - OPERATIONS_4)) * self.kernel
        # entrywise errors: epsilon x_i x_j with x = |r| |c|; such a matrix is below n epsilon diag(x^2)
        epsilon = gamma(self.modes.C.shape[0] + 80)
        x = np.abs(r) * self.column
        kernel_error = ENTRY * level * level * self.kernel_size
        diagonal = np.real(np.diag(matrix)) - SECOND_ORDER * n * epsilon * x * x - kernel_error
        if not (diagonal > 0).all():
            return False
        scale = 2.0 ** np.round(-0.5 * np.log2(diagonal))
        matrix *= scale[:, None]
        matrix *= scale[None, :]
        np.fill_diagonal(matrix, diagonal * scale * scale)
        return positive_definite(matrix)
