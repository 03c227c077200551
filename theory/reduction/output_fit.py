r"""The output matrix of one channel for which the largest gain of the error is nearly least, and a bound of the least.

The error :math:`E(\omega)=E_0(\omega)-X\Psi(\omega)` is affine in what changes, so :math:`\max_\omega\sigma_1(E)` is
convex in X. It is minimised through Schatten norms :math:`F_p`. Duality tells how far that is from the least value: for
matrices :math:`Z_\omega` with :math:`\mathrm{Re}\sum_\omega Z_\omega\Psi(\omega)^*=0` at finitely many frequencies, and
every X,

.. math:: \max_\omega\sigma_1(E)\;\ge\;\frac{\mathrm{Re}\sum_\omega\langle Z_\omega,E_0(\omega)\rangle}
          {\sum_\omega\|Z_\omega\|_*},

because X drops out of the numerator of :math:`\sum\langle Z,E\rangle\le\sigma_1(E)\sum\|Z\|_*`. Gradients of
:math:`F_p` at its minimum are such matrices: :math:`\sum_i(\sigma_i/F_p)^{p-1}u_iv_i^*` gives
:math:`F_p/\sum(\sigma_i/F_p)^{p-1}`, at least :math:`F_pN^{-1/p}` for N singular values. Away from the minimum they
are first moved by the least change that meets the condition, so the bound holds for every X that was reached
:cite:p:`BV04`.

A diagonal of D that may change, too, is one more real unknown for each row of the error, and one more condition on Z:
:math:`\mathrm{Re}\sum_\omega(Z_\omega)_{ii}=0`. What the responses of the row can do of it already is taken off first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from theory.reduction.affine_error import StandIn, whitened
from theory.reduction.descent import Point
from theory.reduction.frame import Frame
from theory.reduction.frequencies import candidates
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

POWERS = 16.0, 64.0, 256.0
"""Of the Schatten norm, one block of steps each."""

DUAL_POWERS = 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0
"""Whose gradients are tried for the lower bound; the largest bound counts."""

ACTIVE = 600
"""Frequencies that count in a block, at most: those with the largest gains. What is left out may rise."""

VALUE = 10.0
"""What the logarithm is multiplied by, so that the minimizer's own tolerances do not end it."""

FREE = 1e-13
"""Mean square of what an entry of D can do and the responses of its row cannot, up to which it is not free."""

LEFT = 1e-6
"""Of a gradient, at least, after the condition is met: of less, rounding is too large a part."""


class OutputFit:
    """One channel: the error as it starts and the responses that may be subtracted, at many frequencies."""

    def __init__(self, system: DiagonalStateSpace, reduced: DiagonalStateSpace, feedthrough: bool) -> None:
        # not that of their difference: states that cancel there are seen as soon as their outputs move
        self.reduced, self.frame, self.feedthrough = reduced, Frame.of(system, reduced), feedthrough
        if feedthrough:  # D reaches all ports
            self.frame = replace(self.frame, rows=np.eye(system.m), columns=np.eye(system.p))
        self.D = np.zeros(self.frame.columns.shape[1])  # what the diagonal is changed by
        C = reduced.C if reduced.C_reverse is None else np.concatenate([reduced.C, reduced.C_reverse], axis=0)
        both = system.C if system.C_reverse is None else np.concatenate([system.C, system.C_reverse], axis=0)
        self.whole = self.frame.inside(Point(poles=system.poles, B=system.B, C=both))
        self.point = self.frame.inside(Point(poles=reduced.poles, B=reduced.B, C=C))
        self.start, self.lower = self.point, 0.0
        poles = self.frame.facing(np.concatenate([system.poles, reduced.poles]))
        self._sample(candidates(poles, self.frame.discrete, self.frame.paired))

    def _sample(self, omega: Array) -> None:
        self.omega, self.target = omega, self.frame.response(self.whole, omega)
        Psi = np.concatenate([self._basis(k, omega) for k in range(len(self.frame.ways))], axis=1)
        self.white, self.Psi = whitened(Psi, self.point.poles.size)
        if self.feedthrough:
            self._free_diagonal()
        self.peak = float(self._gains(self.point, self.D).max())

    def _free_diagonal(self) -> None:
        """Of each row what its entry of D can do and its responses cannot: `Phi` (w, p, m), orthonormal to these.

        A step t along it changes D by ``t * gain`` and X by ``-t * shift``.
        """
        along = self.Psi.real.sum(axis=0).T
        Phi, shift = np.eye(len(along)) - along @ self.Psi, along @ self.white
        size = np.linalg.norm(Phi, axis=(0, 2))
        free = size > np.sqrt(FREE * len(self.Psi))
        self.gain = np.where(free, 1.0 / np.where(free, size, 1.0), 0.0)
        self.Phi, self.shift = Phi * self.gain[:, None], shift * self.gain[:, None]

    def _basis(self, way: int, omega: Array) -> Array:
        """What real coefficients of a direction multiply: those of Re C, then those of Im C, (w, 2 r, m)."""
        p = self.point.C.shape[0] // len(self.frame.ways)
        plain: Any = 0.0
        turned: Any = 0.0
        for rows, mirrored, weight, _ in self.frame.terms(self.point, omega):
            if rows.start == way * p:
                part = weight[:, :, None] * (self.point.B.conj() if mirrored else self.point.B)
                plain, turned = plain + part, turned + (-1j if mirrored else 1j) * part
        return np.concatenate([plain, turned], axis=1)

    def add(self, frequency: float) -> None:
        """One more frequency."""
        omega = abs(frequency) if self.frame.paired else frequency
        self._sample(np.unique(np.append(self.omega, omega)))

    # ------------------------------------------------------------------------------------------ primal
    def _error(self, point: Point, D: Array, which: Any = slice(None)) -> Array:
        E = np.asarray(self.target[which] - self.frame.response(point, self.omega[which]))
        return E - np.diag(D) if self.feedthrough else E

    def _gains(self, point: Point, D: Array) -> Array:
        return np.asarray(np.linalg.norm(self._error(point, D), ord=2, axis=(-2, -1)))

    def _moved(self, origin: Point, X: Array, t: Array) -> Point:
        """The point whose outputs are those of `origin` and X, less what steps t of D take over."""
        X = X - t[:, None] * self.shift if self.feedthrough else X
        r, found = origin.poles.size, []
        for k in range(len(self.frame.ways)):
            part = X[:, 2 * k * r : 2 * (k + 1) * r]
            found.append(part[:, :r] + 1j * part[:, r:])
        return replace(origin, C=origin.C + np.concatenate(found, axis=0))

    def minimise(self, steps: int, powers: tuple[float, ...] = POWERS) -> None:
        """Blocks of L-BFGS steps; the best point at all frequencies is kept, and the largest lower bound."""
        point, D, rows = self.point, self.D, self.point.C.shape[0] // len(self.frame.ways)
        size = rows * self.white.shape[0]
        for power in powers:
            gains = self._gains(point, D)
            which = np.sort(np.argsort(gains)[-ACTIVE:])
            scale = float(gains.max()) * np.sqrt(which.size)  # a step of one changes the error by its own size
            if not scale > 0 or not (size or self.feedthrough):
                return
            Phi = self.Phi[which] if self.feedthrough else None
            stand_in = StandIn(self._error(point, D, which), self.Psi[which], Phi, power)

            def split(y: Array, scale: float = scale) -> tuple[Array, Array]:
                return scale * y[:size].reshape(rows, -1), scale * y[size:]

            def objective(y: Array, stand_in: StandIn = stand_in, scale: float = scale) -> tuple[float, Array]:
                value, along_Y, along_t = stand_in(*split(y))
                return VALUE * value, VALUE * scale * np.concatenate([along_Y.ravel(), along_t])

            with np.errstate(all="ignore"):
                found = scipy.optimize.minimize(
                    objective, np.zeros(size + rows * self.feedthrough), jac=True, method="L-BFGS-B",
                    options={"maxiter": steps, "maxcor": 20, "maxls": 20},
                )  # fmt: skip
            Y, t = split(found.x)
            trial = self._moved(point, Y @ self.white, t)
            if not (np.isfinite(trial.C).all() and np.isfinite(t).all()):
                return
            point, D = trial, D + t * self.gain if self.feedthrough else D
            peak = float(self._gains(point, D).max())
            if peak < self.peak:
                self.point, self.D, self.peak = point, D, peak
            self.lower = max(self.lower, self._dual(point, D))

    @property
    def system(self) -> DiagonalStateSpace:
        """The reduced system with the outputs and D found; as it was where they are those of the start."""
        if self.point is self.start:
            return self.reduced
        C, p = self.frame.outside(self.point).C, self.reduced.p
        D = self.reduced.D + np.diag(self.D) if self.feedthrough else self.reduced.D
        return self.reduced.replace(C=C[:p], C_reverse=C[p:] if self.reduced.is_bidirectional else None, D=D)

    # ------------------------------------------------------------------------------------------ dual
    def _dual(self, point: Point, D: Array) -> float:
        """The largest lower bound that gradients at a point give."""
        E, Psi = self._error(point, D), self.Psi
        U, sigma, Vh = np.linalg.svd(E, full_matrices=False)
        top, best = float(sigma.max()), 0.0
        if not top > 0:
            return 0.0
        for power in DUAL_POWERS:
            scaled = (sigma / top) ** (power - 1.0)
            Z, before = (U * scaled[:, None, :]) @ Vh, float(scaled.sum())
            for _ in range(2):  # once more for the digits that the first solution lost
                rest = np.tensordot(Z, Psi.conj(), axes=((0, 2), (0, 2))).real
                Z = Z - rest @ Psi
                if self.feedthrough:
                    Z = Z - np.einsum("wim,wim->i", self.Phi.conj(), Z).real[:, None] * self.Phi
            mass = float(np.linalg.svd(Z, compute_uv=False).sum())
            if mass < LEFT * before:
                continue
            best = max(best, float(np.vdot(Z, E).real) / mass)
        return best
