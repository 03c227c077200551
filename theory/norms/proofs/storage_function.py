r"""One proof for the whole circle: a level above the gain of a discrete-time system with many states.

Kalman, Yakubovich, Popov: if a Hermitian P makes

.. math:: M(P)=\begin{bmatrix}P-A^*PA-Q & -(A^*PB+S)\\ \cdot & R-B^*PB\end{bmatrix}\succeq0,

then :math:`u^*Ru-2\Re\,x^*Su-x^*Qx\ge0` wherever :math:`|z|=1` is no eigenvalue of A, with :math:`x=(zI-A)^{-1}Bu`: the
terms in P cancel, :math:`x^*Px=(zx)^*P(zx)`. Q, S and R say that the gain is below the level
(:class:`theory.norms.proofs.supply.Supply`). Where P comes from does not matter
(:func:`theory.equations.riccati.stabilizing_solution`); M(P) is formed here with bounds of its rounding, and one
Cholesky factorization proves it. This costs the same however many peaks the gain has.

What makes it sharp enough for the eighth digit: A is diagonal, so :math:`P-A^*PA` is
:math:`P_{ij}(1-\bar\lambda_i\lambda_j)`, free of cancellation, and P is chosen as ``N / (1 - conj(l_i) l_j)`` for a
matrix N computed from the guess.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.arithmetic.definite import positive_definite
from theory.arithmetic.rounding import OPERATIONS_40, SECOND_ORDER, UNIT, frobenius, gamma, row_norms, up
from theory.equations.riccati import stabilizing_solution
from theory.norms.peaks.locate import Located
from theory.norms.peaks.peak import Peak
from theory.norms.proofs.proof import ByShape, Proved
from theory.norms.proofs.supply import Form, Supply, storage_form
from theory.norms.responses.response import Response

Array = NDArray[Any]


SOON, SOON_TWO_SIDED = 1e-3, 1e-2
"""Relative change at which cyclic reduction ends; sooner, one in twenty two-sided systems fails at rtol = 1e-8."""

CROSS_SHARE = 0.1
"""Share of the slack of the states that the rounding of the second block may spend."""


class StorageProof:
    """Proofs of levels of one system, close above a gain that it attains."""

    def __init__(self, form: Form) -> None:
        self.system, self.supply = form, Supply(form)

    def prove(self, level: float, attained: float, state: Array, *, patient: bool = False, polish: int = 2) -> bool:
        r"""Whether every gain is proved to be at most `level`.

        Parameters
        ----------
        attained : float
            A gain below the level; the room between them is shared among the proof's margins.
        state : ndarray, shape (number of modes,)
            The modes' amplitudes :math:`(zI-\Lambda)^{-1}Bu` at the attained gain with :math:`|u|=1`, of reverse modes
            :math:`(zI-\Lambda)^{-*}C^*y` with :math:`|y|=1`: margins are measured there.
        patient : bool
            Take twice as long for a guess that keeps the last digits.
        polish : int
            Rounds, at most, that make P fit the diagonal form.
        """
        rate = self.supply.rate(level)
        room = rate - self.supply.rate(attained)
        size = self.system.state_size(state)
        if not (room > 0 and size > 0):
            return False
        slack = room / 3.0 / size**2 * self.system.weights**2
        soon = SOON_TWO_SIDED if self.system.two_sided else SOON
        guess = self._guess(rate - room / 3.0, slack, ready=np.inf if patient else soon)
        if guess is None:
            return False
        P = self.system.parts(guess)
        for _ in range(polish):
            polished = self._polish(P, rate - room / 3.0, slack)
            if polished is None:
                return False
            P = polished
            if self._certain(P, level, slack, room / 3.0):
                return True
        return False

    def _guess(self, rate: float, slack: Array, ready: float) -> Array | None:
        """The stabilizing solution at the level, of the system with `slack` added to its output weight."""
        B, S = self.system.B, self.supply.S
        H = self.supply.Q + np.diag(slack)
        A = self.system.state_matrix
        if S.any():
            try:
                L = np.linalg.cholesky(self.supply.corner(rate))
            except np.linalg.LinAlgError:
                return None
            inputs = scipy.linalg.solve_triangular(L, B.conj().T, lower=True, check_finite=False).conj().T
            outputs = scipy.linalg.solve_triangular(L, S.conj().T, lower=True, check_finite=False)
            A, H = A + inputs @ outputs, H + outputs.conj().T @ outputs
        else:
            inputs = B / np.sqrt(rate)
        moduli = np.tile(np.abs(self.system.poles), 2 if self.system.paired else 1)
        return stabilizing_solution(A, inputs @ inputs.conj().T, H, moduli=moduli, ready=ready)

    def _polish(self, P: tuple[Array, ...], rate: float, slack: Array) -> tuple[Array, ...] | None:
        """One step of ``P - A^* P A = Q + K^* R K + slack``, solved elementwise."""
        system = self.system
        moved = system.whole(P) @ system.B
        try:
            L = np.linalg.cholesky(self.supply.corner(rate) - system.B.conj().T @ moved)
        except np.linalg.LinAlgError:
            return None
        cross = (system.adjoint_times(moved) + self.supply.S).conj().T
        K = scipy.linalg.solve_triangular(L, cross, lower=True, check_finite=False)
        N = system.parts(self.supply.Q + K.conj().T @ K + np.diag(slack))
        found = tuple(part / gap for part, gap in zip(N, system.gaps))
        if not all(np.isfinite(part).all() for part in found):
            return None
        return (0.5 * (found[0] + found[0].conj().T), *(0.5 * (part + part.T) for part in found[1:]))

    def _certain(self, P: tuple[Array, ...], level: float, slack: Array, room: float) -> bool:
        """Whether M(P) is positive semidefinite at the level, rounding included; P is exactly what `parts` holds."""
        matrix = self.below(P, level, slack, room)
        if matrix is None:
            return False
        scale = 2.0 ** np.round(-0.5 * np.log2(np.real(np.diag(matrix))))
        return positive_definite(matrix * scale[:, None] * scale[None, :])

    def below(self, P: tuple[Array, ...], level: float, slack: Array, room: float) -> Array | None:
        """A Hermitian matrix that M(P) at the level exceeds, exactly, by a positive semidefinite one.

        ``None`` where what rounding may have done is not below `room`, or is more than the diagonal.

        Parameters
        ----------
        P : tuple of ndarray
            Exactly the Hermitian matrix of these parts (:meth:`theory.norms.proofs.supply.Form.parts`).
        slack : ndarray, shape (N,)
            Positive. A tenth of it pays for the errors of the second block row.
        """
        system, supply = self.system, self.supply
        B, n = system.B, system.B.shape[0]
        whole, size = system.whole(P), system.whole_size(P)
        moved = whole @ B
        cross = -(system.adjoint_times(moved) + supply.S)
        corner = supply.corner(supply.rate(level) * (1 - 4 * UNIT)) - B.conj().T @ moved
        changes = tuple(part * gap for part, gap in zip(P, system.gaps))
        top = system.whole(changes) - supply.Q
        # entries of the first block are off by at most `error_size`; a Hermitian E with |E| <= F is below the diagonal
        # matrix of w_i sum_j F_ij / w_j for any positive w (Gershgorin's theorem for diag(w)^{-1} E diag(w)^{-1})
        error_size = 40 * UNIT * system.whole_size(changes)
        error_size = error_size + supply.Q_error * np.outer(supply.columns, supply.columns)
        weights = system.weights
        loss = up((error_size @ (1.0 / weights)) * weights, n + 8)
        # rows of the second block: the product with P, its rounding from parts, S, and A^*
        rows = row_norms(B)
        moved_error = up((gamma(n) + 4 * UNIT) * (size @ rows), n + 8)
        pair = np.concatenate([moved_error, row_norms(moved)]).reshape(2, -1)
        both = pair.reshape(2, 2, -1).sum(axis=1).repeat(2, axis=0).reshape(2, -1) if system.paired else pair
        row_error = up(both[0] + 16 * UNIT * both[1] + supply.S_error, 16)
        # |2 x^* E u| <= sum x_i^2 e_i t_i + |u|^2 sum e_i / t_i, with t such that the first sum is a tenth of the slack
        share = CROSS_SHARE * slack
        loss = loss + share
        norm_B, norm_error = float(np.linalg.norm(rows)), float(np.linalg.norm(moved_error))
        corner_error = float(up((row_error**2 / share).sum(), n + 8))
        corner_error += (gamma(n) + 4 * UNIT) * norm_B * float(frobenius(moved)) * SECOND_ORDER + norm_B * norm_error
        corner_error += supply.R_error + 4 * UNIT * float(frobenius(corner))
        if not (np.isfinite(loss).all() and corner_error < room):
            return None
        top[np.diag_indices_from(top)] -= loss * (1 + OPERATIONS_40)
        corner[np.diag_indices_from(corner)] -= SECOND_ORDER * corner_error
        matrix = np.block([[top, cross], [cross.conj().T, corner]])
        diagonal = np.real(np.diag(matrix))
        if not (np.isfinite(matrix).all() and (diagonal > 0).all()):
            return None
        return np.asarray(0.5 * (matrix + matrix.conj().T))


class StorageFunction(ByShape):
    """A matrix inequality that holds for the whole circle at once, whatever the number of peaks.

    Applies: a discrete-time diagonal system with many inputs and outputs, one direction or both, no pole on the circle.
    Cost: 15 to 30 times O(n^3) for the guess, one Cholesky factorization of n + m rows for the proof.
    """

    name = "storage"
    shape = "many"

    def prove(self, response: Response, peak: Peak, rtol: float) -> Proved | None:
        """Prove a level just above the peak; most often it fails because a larger gain was missed."""
        assert isinstance(peak, Located)
        form = storage_form(response.form)
        if form is None or not peak.best > 0:
            return None
        proof, loss = StorageProof(form), form.loss

        def proved(patient: bool) -> bool:
            level = loss.target(peak.level * (1 - 4 * UNIT))
            return proof.prove(level, peak.best, peak.state(), patient=patient)

        found = peak.best
        if proved(patient=False):
            return Proved(peak.level, {})
        peak.locate(thorough=True)
        done = (peak.best > found and proved(patient=False)) or proved(patient=True)
        return Proved(peak.level, {}) if done else None
