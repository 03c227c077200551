r"""The state space form, and the quadratic form, on which a level is proved for the whole circle at once.

A causal system keeps its form, and the level is proved of :math:`\gamma^2\|u\|^2-\|y\|^2`. A two-sided one,
:math:`G_1(z)+G_2(z)^*` with both causal, has gains of at most :math:`\gamma` where

.. math:: \begin{bmatrix}\gamma I&G\\G^*&\gamma I\end{bmatrix}
   =Z+Z^*+\begin{bmatrix}\gamma I&D\\D^*&\gamma I\end{bmatrix}\succeq0,\qquad
   Z=\begin{bmatrix}0&G_1\\G_2&0\end{bmatrix},

and Z is causal: with its input w and output y it is :math:`2\Re\,w^*y` that must not be negative. Either way the level
follows from one matrix inequality for the *supply rate* :math:`u^*Ru-2\Re\,x^*Su-x^*Qx`
(:mod:`theory.norms.proofs.storage_function`).

A is diagonal; conjugate pairs are written as the *real* system with state [Re x; Im x], where
:math:`P\mapsto P-A^*PA` still acts elementwise, on the two complex matrices of
:math:`\mathrm{Re}\,(x^*\Pi x + x^T\Psi x)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import SECOND_ORDER, UNIT, frobenius, gamma, row_norms, up
from theory.norms.loss import Loss
from theory.norms.responses.compression import short_rows
from theory.norms.responses.modes import ModalSum
from theory.systems.margin import disc_gap
from theory.systems.pairs import real_input, real_output, real_state_matrix, real_state_times

Array = NDArray[Any]

LEAST_WEIGHT = 1e-12
"""Of the largest weight: what a state that no output sees weighs."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A diagonal A and dense B, C, D: of ``N`` states, or of ``2h`` real ones for ``h`` conjugate pairs.

    `loss` is what its gain may miss of the modal sum's.
    `D` (p, m) is that of the modal sum; B and C of a two-sided system are those of Z.
    """

    poles: Array
    paired: bool
    B: Array
    C: Array
    D: Array
    loss: Loss
    two_sided: bool = False

    # ------------------------------------------------------------------------------------------ A, and P - A^* P A
    def adjoint_times(self, X: Array) -> Array:
        """``A^* X``."""
        if not self.paired:
            return self.poles.conj()[:, None] * X
        return real_state_times(self.poles.conj(), X)

    def pairs(self, sizes: Array) -> Array:
        """Sizes of modes from sizes of states: those of a pair together, (h,)."""
        return np.hypot(sizes[: self.poles.size], sizes[self.poles.size :]) if self.paired else sizes

    @cached_property
    def state_matrix(self) -> Array:
        """A as a matrix."""
        if not self.paired:
            return np.asarray(np.diag(self.poles))
        return real_state_matrix(self.poles)

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
        return np.asarray(np.maximum(size, LEAST_WEIGHT * size.max(initial=0.0)))

    def state_size(self, modes: Array) -> float:
        """``|diag(weights) x|`` for the state x of these complex amplitudes of the modes, for an input of norm one."""
        size = self.pairs(np.abs(modes)) * np.sqrt(0.5) if self.paired else np.abs(modes)
        share = np.sqrt(0.5) if self.two_sided else 1.0  # half of the input goes to either direction
        return share * float(np.linalg.norm(self.weights[: size.size] * size))


def storage_form(modes: ModalSum) -> Form | None:
    """Return a modal sum in the form that is proved here, or ``None``: continuous, unstable, inexact modes."""
    inexact = modes.perturbation is not None or modes.low is not None or modes.mode_losses is not None
    if not modes.discrete or inexact or modes.relative_loss or not modes.margin.min() > 0:
        return None
    poles, B, C, D, reverse, direct = modes.poles, modes.B, modes.C, modes.D, modes.reverse, modes.direct
    absolute = 0.0
    if direct.any():  # z / (z - l) = 1 + l / (z - l)
        size = UNIT * 16 * row_norms(C, axis=0) * row_norms(B) / modes.margin
        lost = gamma(B.shape[0]) * float(frobenius(C)) * float(frobenius(B)) + 2 * UNIT * float(frobenius(D))
        absolute = SECOND_ORDER * (float(up(size.sum(), poles.size + 8)) + lost)
        first = np.flatnonzero(direct[: poles.size // 2 if modes.paired else None])
        one, two = C[:, first], B[first]
        D = D + (real_output(one) @ real_input(two) if modes.paired else one @ two)
        C = np.where(direct, C * poles, C)
    stored = slice(poles.size // 2 if modes.paired else None)
    poles, B, C, margin, reverse = poles[stored], B[stored], C[:, stored], modes.margin[stored], reverse[stored]
    if reverse.any():
        poles, B, C = _both_directions(poles, B, C, reverse)
    if modes.paired:
        B, C, D = real_input(B), real_output(C), D.real
    elif not any(np.any(np.imag(x)) for x in (poles, B, C, D)):
        poles, B, C, D = poles.real, B.real, C.real, D.real
    form = Form(
        poles=poles, paired=modes.paired, B=B, C=C, D=D, loss=Loss(absolute=absolute), two_sided=bool(reverse.any())
    )
    return form if form.two_sided or D.any() else _thinned(form, margin)


def _both_directions(poles: Array, B: Array, C: Array, reverse: Array) -> tuple[Array, Array, Array]:
    """Z of the modes, of which the `reverse` ones are those of G_2, conjugated and transposed."""
    (p, n), m = C.shape, B.shape[1]
    inputs, outputs = np.zeros((n, p + m), complex), np.zeros((p + m, n), complex)
    inputs[:, p:], outputs[:p] = np.where(reverse[:, None], 0.0, B), np.where(reverse, 0.0, C)
    inputs[:, :p] = np.where(reverse[:, None], C.conj().T, 0.0)
    outputs[p:] = np.where(reverse, B.conj().T, 0.0)
    return np.where(reverse, poles.conj(), poles), inputs, outputs


def _thinned(form: Form, margin: Array) -> Form:
    """Leave at most twice as many inputs and outputs as states; the resolvent of a mode or pair is below 1 / margin."""
    B, C, n = form.B, form.C, form.B.shape[0]
    absolute, relative = form.loss.absolute, 0.0
    if B.shape[1] > 2 * n:
        B, residual, defect = short_rows(B)
        lost = form.pairs(residual) * form.pairs(row_norms(C, axis=0)) / margin
        absolute, relative = absolute + SECOND_ORDER * float(up(lost.sum(), n + 8)), relative + defect
    if C.shape[0] > 2 * n:
        adjoint, residual, defect = short_rows(C.conj().T)
        C = np.ascontiguousarray(adjoint.conj().T)
        lost = form.pairs(residual) * form.pairs(row_norms(B)) / margin
        absolute, relative = absolute + SECOND_ORDER * float(up(lost.sum(), n + 8)), relative + defect
    D = np.zeros((C.shape[0], B.shape[1]), dtype=B.dtype)
    return replace(form, B=B, C=C, D=D, loss=Loss(absolute=absolute, relative=up(SECOND_ORDER * relative)))


class Supply:
    r"""The supply rate :math:`u^*R(\gamma)u-2\Re\,x^*Su-x^*Qx` of a form, and bounds of its rounding.

    Attributes
    ----------
    Q, S : ndarray, shapes (N, N), (N, k)
        An entry of Q is off by at most `Q_error` times the product of two entries of `columns`; a row of S, and of a
        sum of S and something else, by the norms in `S_error`; `R_error` bounds the norm of R's error.
    """

    def __init__(self, form: Form) -> None:
        self.form, C, D = form, form.C, form.D
        self.columns = row_norms(C, axis=0)
        if form.two_sided:
            self.Q, self.Q_error = np.zeros((form.B.shape[0],) * 2), 0.0
            self.S, self.S_error = -C.conj().T, 4 * UNIT * self.columns
            self.R_error = 0.0
            return
        self.Q, self.Q_error = C.conj().T @ C, gamma(C.shape[0]) + 4 * UNIT
        size = float(frobenius(D) if D.any() else 0.0)
        self.S, self.S_error = C.conj().T @ D, (gamma(C.shape[0]) + 4 * UNIT) * self.columns * size
        self._direct = D.conj().T @ D
        self.R_error = (gamma(D.shape[0]) + 4 * UNIT) * size**2

    def rate(self, level: float) -> float:
        """What stands on R's diagonal for a level."""
        return level if self.form.two_sided else level * level

    def corner(self, rate: float) -> Array:
        """R, (k, k)."""
        D = self.form.D
        if not self.form.two_sided:
            return np.asarray(rate * np.eye(D.shape[1]) - self._direct)
        return np.block([[rate * np.eye(D.shape[0]), D], [D.conj().T, rate * np.eye(D.shape[1])]])
