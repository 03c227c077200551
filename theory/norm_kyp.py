r"""One proof for the whole circle: a level above the gain of a causal discrete-time system with many states.

Kalman, Yakubovich, Popov: if a Hermitian P makes

.. math:: M(P)=\begin{bmatrix}P-A^*PA-C^*C & -(A^*PB+C^*D)\\ \cdot & \gamma^2I-D^*D-B^*PB\end{bmatrix}\succeq0,

then :math:`\gamma^2I-G(z)^*G(z)\succeq0` wherever :math:`|z|=1` is no eigenvalue of A: with :math:`x=(zI-A)^{-1}Bu` the
terms in P cancel, :math:`x^*Px=(zx)^*P(zx)`. Where P comes from does not matter
(:func:`theory.norm_doubling.stabilizing_solution`); M(P) is formed here with bounds of its rounding, and one Cholesky
factorization proves it. This costs the same however many peaks the gain has.

What makes it sharp enough for the eighth digit: A is diagonal, so :math:`P-A^*PA` is
:math:`P_{ij}(1-\bar\lambda_i\lambda_j)`, free of cancellation, and P is chosen as ``N / (1 - conj(l_i) l_j)`` for a
matrix N computed from the guess. Conjugate pairs are written as the *real* system with state [Re x; Im x]; there the
same holds for the two complex matrices of :math:`\mathrm{Re}\,(x^*\Pi x + x^T\Psi x)`, with the denominators
:math:`1-\bar\lambda_i\lambda_j` and :math:`1-\lambda_i\lambda_j`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.margin import disc_gap
from theory.norm_compress import positive_definite, short_rows
from theory.norm_doubling import stabilizing_solution
from theory.norm_modes import ModalSum
from theory.norm_rounding import UNIT, frobenius, gamma, row_norms, up

Array = NDArray[Any]

READY = (1e-3, float("inf"))
"""From which distance of the poles from the circle on the guess takes the cheap way; the second try never does."""


@dataclass(frozen=True, kw_only=True)
class Causal:
    """A diagonal A and dense B, C, D: of ``N`` states, or of ``2h`` real ones for ``h`` conjugate pairs.

    `extra` and `inflation` bound what its gain may miss of the modal sum's: ``(gain + extra) (1 + inflation)``.
    """

    poles: Array
    paired: bool
    B: Array
    C: Array
    D: Array
    extra: float
    inflation: float

    # ------------------------------------------------------------------------------------------ A, and P - A^* P A
    def adjoint_times(self, X: Array) -> Array:
        """``A^* X``."""
        if not self.paired:
            return self.poles.conj()[:, None] * X
        h, a, b = self.poles.size, self.poles.real[:, None], self.poles.imag[:, None]
        return np.concatenate([a * X[:h] + b * X[h:], a * X[h:] - b * X[:h]])

    def pairs(self, sizes: Array) -> Array:
        """Sizes of modes from sizes of states: those of a pair together, (h,)."""
        return np.hypot(sizes[: self.poles.size], sizes[self.poles.size :]) if self.paired else sizes

    @cached_property
    def state_matrix(self) -> Array:
        """A as a matrix."""
        if not self.paired:
            return np.asarray(np.diag(self.poles))
        real, imaginary = np.diag(self.poles.real), np.diag(self.poles.imag)
        return np.block([[real, -imaginary], [imaginary, real]])

    @cached_property
    def gaps(self) -> tuple[Array, ...]:
        r"""Denominators :math:`1-\bar\lambda_i\lambda_j` and, for pairs, :math:`1-\lambda_i\lambda_j`."""
        rows, columns = self.poles.conj()[:, None], self.poles.conj()[None, :]
        hermitian = disc_gap(rows, columns)
        if not self.paired:
            return (hermitian if np.iscomplexobj(self.poles) else hermitian.real,)
        return hermitian, disc_gap(self.poles[:, None], columns)

    def parts(self, P: Array) -> tuple[Array, ...]:
        """Split a Hermitian matrix into the parts on which ``P -> P - A^* P A`` acts elementwise."""
        if not self.paired:
            return (0.5 * (P + P.conj().T),)
        h = self.poles.size
        one, two, cross = P[:h, :h], P[h:, h:], P[:h, h:]
        hermitian = 0.5 * (one + two) + 0.5j * (cross.T - cross)
        symmetric = 0.5 * (one - two) - 0.5j * (cross + cross.T)
        return 0.5 * (hermitian + hermitian.conj().T), 0.5 * (symmetric + symmetric.T)

    def whole(self, parts: tuple[Array, ...]) -> Array:
        """Undo :meth:`parts`: one rounding an entry."""
        if not self.paired:
            return parts[0]
        hermitian, symmetric = parts
        cross = -hermitian.imag - symmetric.imag
        return np.block([[hermitian.real + symmetric.real, cross], [cross.T, hermitian.real - symmetric.real]])

    def whole_size(self, parts: tuple[Array, ...]) -> Array:
        """Bound of the absolute values that :meth:`whole` adds up in an entry."""
        if not self.paired:
            return np.abs(parts[0])
        size = np.abs(parts[0]) + np.abs(parts[1])
        return np.block([[size, size], [size, size]])

    @cached_property
    def weights(self) -> Array:
        """Sizes of the columns of C, those of a pair together, (N,): the scale of the states."""
        size = self.pairs(row_norms(self.C, axis=0))
        size = np.concatenate([size, size]) if self.paired else size
        return np.asarray(np.maximum(size, 1e-12 * size.max(initial=0.0)))

    def state_size(self, modes: Array) -> float:
        """``|diag(weights) x|`` for the state x of these complex amplitudes of the modes."""
        size = self.pairs(np.abs(modes)) * np.sqrt(0.5) if self.paired else np.abs(modes)
        return float(np.linalg.norm(self.weights[: size.size] * size))


def causal(modes: ModalSum) -> Causal | None:
    """Return a modal sum in the form that is proved here, or ``None``: two-sided, unstable, inexact modes."""
    inexact = modes.perturbation is not None or modes.low is not None or modes.leak is not None or modes.inflation
    mixed = modes.reverse.any() or modes.direct.any() != modes.direct.all()
    if not modes.discrete or inexact or mixed or not modes.margin.min() > 0:
        return None
    poles, B, C, D, margin = modes.poles, modes.B, modes.C, modes.D, modes.margin
    paired, h = modes.paired, poles.size // 2
    if paired:
        B, C, D = np.concatenate([B[:h].real, B[:h].imag]), 2.0 * np.hstack([C[:, :h].real, -C[:, :h].imag]), D.real
        poles, margin = poles[:h], margin[:h]
    elif not any(np.any(np.imag(x)) for x in (poles, B, C, D)):
        poles, B, C, D = poles.real, B.real, C.real, D.real
    system = Causal(poles=poles, paired=paired, B=B, C=C, D=D, extra=0.0, inflation=0.0)
    if modes.direct.any():  # output of the updated state: C (A x + B u) + D u
        size = UNIT * 16 * system.pairs(row_norms(C, axis=0)) * system.pairs(row_norms(B)) / margin
        lost = gamma(B.shape[0]) * float(frobenius(C)) * float(frobenius(B)) + 2 * UNIT * float(frobenius(D))
        moved = system.adjoint_times(C.conj().T).conj().T
        system = replace(system, C=moved, D=D + C @ B, extra=1.01 * (float(up(size.sum(), 2 * h + 8)) + lost))
    return system if system.D.any() else _compressed(system, margin)


def _compressed(system: Causal, margin: Array) -> Causal:
    """Leave at most twice as many inputs and outputs as states; the resolvent of a mode or pair is below 1 / margin."""
    B, C, n = system.B, system.C, system.B.shape[0]
    extra, inflation = system.extra, 0.0
    if B.shape[1] > 2 * n:
        B, residual, defect = short_rows(B)
        lost = system.pairs(residual) * system.pairs(row_norms(C, axis=0)) / margin
        extra, inflation = extra + 1.01 * float(up(lost.sum(), n + 8)), inflation + defect
    if C.shape[0] > 2 * n:
        adjoint, residual, defect = short_rows(C.conj().T)
        C = np.ascontiguousarray(adjoint.conj().T)
        lost = system.pairs(residual) * system.pairs(row_norms(B)) / margin
        extra, inflation = extra + 1.01 * float(up(lost.sum(), n + 8)), inflation + defect
    D = np.zeros((C.shape[0], B.shape[1]), dtype=B.dtype)
    return replace(system, B=B, C=C, D=D, extra=extra, inflation=up(1.01 * inflation))


class StorageProof:
    """Proofs of levels of one system, close above a gain that it attains."""

    def __init__(self, system: Causal) -> None:
        self.system = system
        self.gram = system.C.conj().T @ system.C
        self.through = system.C.conj().T @ system.D
        self.direct = system.D.conj().T @ system.D

    def prove(self, level: float, attained: float, state: Array, *, polish: int = 2) -> bool:
        r"""Whether every gain is proved to be at most `level`.

        Parameters
        ----------
        attained : float
            A gain below the level; the room between them is shared among the proof's margins.
        state : ndarray, shape (number of modes,)
            The modes' amplitudes :math:`(zI-\Lambda)^{-1}Bu` at the attained gain with :math:`|u|=1`: margins are
            measured there.
        polish : int
            Rounds, at most, that make P fit the diagonal form.
        """
        room = level * level - attained * attained
        size = self.system.state_size(state)
        if not (room > 0 and size > 0):
            return False
        slack = room / 3.0 / size**2 * self.system.weights**2
        guesses = (self._guess(level * level - room / 3.0, slack, ready) for ready in READY)
        return any(self._prove_from(guess, level, slack, room / 3.0, polish) for guess in guesses if guess is not None)

    def _prove_from(self, guess: Array, level: float, slack: Array, room: float, polish: int) -> bool:
        P = self.system.parts(guess)
        for _ in range(polish):
            polished = self._polish(P, level * level - room, slack)
            if polished is None:
                return False
            P = polished
            if self._certain(P, level, slack, room):
                return True
        return False

    def _guess(self, square: float, slack: Array, ready: float) -> Array | None:
        """The stabilizing solution at the level, of the system with `slack` added to its output weight."""
        B, D = self.system.B, self.system.D
        H = self.gram + np.diag(slack)
        A = self.system.state_matrix
        if D.any():
            try:
                L = np.linalg.cholesky(square * np.eye(D.shape[1]) - self.direct)
            except np.linalg.LinAlgError:
                return None
            inputs = scipy.linalg.solve_triangular(L, B.conj().T, lower=True, check_finite=False).conj().T
            outputs = scipy.linalg.solve_triangular(L, self.through.conj().T, lower=True, check_finite=False)
            A, H = A + inputs @ outputs, H + outputs.conj().T @ outputs
        else:
            inputs = B / np.sqrt(square)
        moduli = np.tile(np.abs(self.system.poles), 2 if self.system.paired else 1)
        return stabilizing_solution(A, inputs @ inputs.conj().T, H, moduli=moduli, ready=ready)

    def _polish(self, P: tuple[Array, ...], square: float, slack: Array) -> tuple[Array, ...] | None:
        """One step of ``P - A^* P A = C^* C + K^* R K + slack``, solved elementwise."""
        system = self.system
        moved = system.whole(P) @ system.B
        R = square * np.eye(system.B.shape[1]) - self.direct - system.B.conj().T @ moved
        try:
            L = np.linalg.cholesky(R)
        except np.linalg.LinAlgError:
            return None
        cross = (system.adjoint_times(moved) + self.through).conj().T
        K = scipy.linalg.solve_triangular(L, cross, lower=True, check_finite=False)
        N = system.parts(self.gram + K.conj().T @ K + np.diag(slack))
        found = tuple(part / gap for part, gap in zip(N, system.gaps))
        if not all(np.isfinite(part).all() for part in found):
            return None
        return (0.5 * (found[0] + found[0].conj().T), *(0.5 * (part + part.T) for part in found[1:]))

    def _certain(self, P: tuple[Array, ...], level: float, slack: Array, room: float) -> bool:
        """Whether M(P) is positive semidefinite at the level, rounding included; P is exactly what `parts` holds."""
        system = self.system
        B, C, D, n, m = system.B, system.C, system.D, system.B.shape[0], system.B.shape[1]
        whole, size = system.whole(P), system.whole_size(P)
        moved = whole @ B
        cross = -(system.adjoint_times(moved) + self.through)
        corner = level * level * (1 - 4 * UNIT) * np.eye(m) - self.direct - B.conj().T @ moved
        changes = tuple(part * gap for part, gap in zip(P, system.gaps))
        top = system.whole(changes) - self.gram
        # entries of the first block are off by at most `error_size`; a Hermitian E with |E| <= F is below the diagonal
        # matrix of w_i sum_j F_ij / w_j for any positive w (Gershgorin's theorem for diag(w)^{-1} E diag(w)^{-1})
        columns = row_norms(C, axis=0)
        error_size = 40 * UNIT * system.whole_size(changes)
        error_size = error_size + (gamma(C.shape[0]) + 4 * UNIT) * np.outer(columns, columns)
        weights = system.weights
        loss = up((error_size @ (1.0 / weights)) * weights, n + 8)
        # rows of the second block: the product with P, its rounding from parts, C^* D, and A^*
        rows = row_norms(B)
        through_size = columns * float(frobenius(D) if D.any() else 0.0)
        moved_error = up((gamma(n) + 4 * UNIT) * (size @ rows), n + 8)
        pair = np.concatenate([moved_error, row_norms(moved)]).reshape(2, -1)
        both = pair.reshape(2, 2, -1).sum(axis=1).repeat(2, axis=0).reshape(2, -1) if system.paired else pair
        row_error = up(both[0] + 16 * UNIT * both[1] + (gamma(C.shape[0]) + 4 * UNIT) * through_size, 16)
        # |2 x^* E u| <= sum x_i^2 e_i t_i + |u|^2 sum e_i / t_i, with t such that the first sum is a tenth of the slack
        share = 0.1 * slack
        loss = loss + share
        norm_B, norm_error = float(np.linalg.norm(rows)), float(np.linalg.norm(moved_error))
        corner_error = float(up((row_error**2 / share).sum(), n + 8))
        corner_error += (gamma(n) + 4 * UNIT) * norm_B * float(frobenius(moved)) * 1.01 + norm_B * norm_error
        corner_error += (gamma(D.shape[0]) + 4 * UNIT) * float(frobenius(D)) ** 2 if D.any() else 0.0
        corner_error += 4 * UNIT * float(frobenius(corner))
        if not (np.isfinite(loss).all() and corner_error < room):
            return False
        top[np.diag_indices_from(top)] -= loss * (1 + 1e-14)
        corner[np.diag_indices_from(corner)] -= 1.01 * corner_error
        matrix = np.block([[top, cross], [cross.conj().T, corner]])
        diagonal = np.real(np.diag(matrix))
        if not (np.isfinite(matrix).all() and (diagonal > 0).all()):
            return False
        scale = 2.0 ** np.round(-0.5 * np.log2(diagonal))
        return positive_definite(0.5 * (matrix + matrix.conj().T) * scale[:, None] * scale[None, :])
