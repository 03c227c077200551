r"""A dense system on the stability boundary without eigenvectors: for defective and nearly defective state matrices.

With a computed inverse :math:`g` at the centre of an arc (circle: :math:`(z_0I-A)^{-1}`, axis:
:math:`(j\omega_0I-A)^{-1}`, near infinity: :math:`(I+j\tau_0A)^{-1}`), the response in the local coordinate of
:mod:`theory.norms.responses.modes` is exactly

.. math:: G(t) = G(0) + \beta\, t\, C g (I+jtQ)^{-1} g B,\qquad
          Q = 2z_0g-I \text{ (circle)},\; g \text{ (axis)},\; Ag \text{ (infinity)},

:math:`\beta = -2jz_0` or :math:`-j`. :math:`\|(I+jtQ)^{-1}\|` is bounded on the arc by a Neumann series of four terms
and :math:`\|Q^4\|`, which needs no eigenvectors. The inverse is verified: :math:`\|I-gM\|_\infty\le\epsilon<1/2`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.arithmetic.rounding import UNIT, frobenius, gamma, up
from theory.norms.responses.derivatives import derivative_bounds
from theory.norms.responses.modes import AXIS, CIRCLE, Arc, charts
from theory.systems.margin import discrete_margin

Array = NDArray[Any]


@dataclass(kw_only=True)
class Resolvent:
    """A dense system as a boundary of :mod:`theory.norms.proofs.arcs`; `poles` only steer the search.

    The true matrices may differ from `A`, `B`, `C` by `A_error`, `B_error`, `C_error` (Frobenius norms).
    """

    A: Array
    B: Array
    C: Array
    D: Array
    poles: Array
    discrete: bool
    real: bool
    order: int = 8
    A_error: float = 0.0
    B_error: float = 0.0
    C_error: float = 0.0
    inflation: float = 0.0
    largest_resolvent: float = 0.0
    """Largest bound of the resolvent's norm on the arcs that the search accepted."""
    _last: Array = field(default_factory=lambda: np.zeros(0))

    def charts(self) -> list[tuple[str, float, float]]:
        """Return the arcs that cover the boundary: (chart, from, to)."""
        return charts(discrete=self.discrete, real=self.real, radius=float(np.abs(self.poles).max(initial=0.0)))

    def resonances(self, chart: str) -> Array:
        """Return the boundary coordinates next to the poles."""
        if chart == CIRCLE:
            return np.asarray(np.angle(self.poles))
        return np.asarray(self.poles.imag) if chart == AXIS else np.zeros(0)

    def _inverse(self, chart: str, x: Array) -> tuple[Array, Array, Array]:
        """Return g (S, n, n), beta (S,), and a bound (S,) of the relative error of g in any consistent norm."""
        n = self.A.shape[0]
        eye = np.eye(n)
        if chart == CIRCLE:
            z = np.cos(x) + 1j * np.sin(x)
            z = z + z * discrete_margin(z)  # to working precision; the remaining offset enters the defect
            matrix, beta = z[:, None, None] * eye - self.A, -2j * z
            entry = UNIT * 4.0 * (np.abs(self.A) + eye)
        elif chart == AXIS:
            matrix, beta = 1j * x[:, None, None] * eye - self.A, np.full(x.size, -1j)
            entry = UNIT * 2.0 * (np.abs(self.A) + np.abs(x)[:, None, None] * eye)
        else:
            matrix, beta = eye + 1j * x[:, None, None] * self.A, np.full(x.size, -1j)
            entry = UNIT * 4.0 * (np.abs(self.A) * np.abs(x)[:, None, None] + eye)
        g = _inverses(matrix)
        size = np.abs(g)
        defect = np.abs(eye - g @ matrix) + gamma(n) * (size @ np.abs(matrix)) + size @ entry
        epsilon = up(np.linalg.norm(defect, axis=(-2, -1)), n * n + 8)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(epsilon < 0.5, epsilon / (1.0 - epsilon), np.inf)
        return g, beta, np.where(np.isnan(relative), np.inf, relative)

    def response(self, chart: str, x: Array) -> tuple[Array, Array, Array]:
        """Return the response at the points `x`, (S, p, m), its rounding error, and the model error."""
        x = np.asarray(x, dtype=float)
        g, _, relative = self._inverse(chart, x)
        value, error = self._value(chart, x, g, relative)
        size, left, right = self._sizes(g, relative)
        return value, error, self._model_error(chart, np.abs(x), size, left, right)

    def _sizes(self, g: Array, relative: Array) -> tuple[Array, Array, Array]:
        """Return bounds of the norms of ``g``, ``C g`` and ``g B`` at the centres."""
        noise, size = relative + gamma(self.A.shape[0] + 8), frobenius(g)
        left = frobenius(self.C @ g) + noise * frobenius(self.C[None]) * size
        right = frobenius(g @ self.B) + noise * frobenius(self.B[None]) * size
        return size * (1.0 + relative), left, right

    def _model_error(self, chart: str, reach: Array, size: Array, left: Array, right: Array) -> Array:
        """Bound what the errors of A, B and C do, from bounds of the resolvent R, ``C R`` and ``R B``.

        ``(C+c)(I-RF)^{-1}R(B+b) - CRB`` is ``(CR F + c)(I-RF)^{-1}R(B+b) + CR b`` with ``|RF| < 1/2``.
        """
        if self.A_error == self.B_error == self.C_error == 0.0:
            return np.zeros(size.size)
        factor = 1.0 if chart in (CIRCLE, AXIS) else reach  # (sI - A)^{-1} = -j tau (I + j tau A)^{-1}
        size, left, right = 1.01 * size * factor, 1.01 * left * factor, 1.01 * right * factor
        shift = size * self.A_error
        right = (right + size * self.B_error) / (1.0 - np.minimum(shift, 0.5))
        total = (left * self.A_error + self.C_error) * right + left * self.B_error
        return np.where(shift < 0.5, np.where(np.isnan(total), np.inf, total), np.inf)

    def _value(self, chart: str, x: Array, g: Array, relative: Array) -> tuple[Array, Array]:
        # near infinity (sI - A)^{-1} = -j tau (I + j tau A)^{-1}
        factor = np.asarray(-1j * np.asarray(x))[:, None, None] if chart not in (CIRCLE, AXIS) else 1.0
        n = self.A.shape[0]
        state = g @ self.B
        value = (self.C @ state) * factor + self.D
        left = frobenius(self.C @ g) + gamma(n) * frobenius(self.C[None]) * frobenius(g)
        error = frobenius(np.abs(self.C) @ np.abs(state)) * gamma(n)
        whole = relative * frobenius(self.C[None]) * frobenius(g)
        error = error + np.minimum(whole * frobenius(self.B[None]), (left + whole) * self._residual(chart, x, state))
        error = error * np.abs(np.asarray(factor)).reshape(-1) + gamma(2) * frobenius(self.D)
        error = np.where(np.isfinite(relative), up(error, 64), np.inf)
        return np.where(np.isfinite(value), value, 0.0), np.where(np.isnan(error), np.inf, error)

    def _residual(self, chart: str, x: Array, state: Array) -> Array:
        """Frobenius bound of ``B - M(x) state``, rounding included."""
        n, x = self.A.shape[0], np.asarray(x, dtype=float)[:, None, None]
        moved, size = self.A @ state, np.abs(self.A) @ np.abs(state)
        if chart == CIRCLE:
            z = np.cos(x) + 1j * np.sin(x)
            residual, scale = self.B - (z * state - moved), size + np.abs(state)
        elif chart == AXIS:
            residual, scale = self.B - (1j * x * state - moved), size + np.abs(x * state)
        else:
            residual, scale = self.B - (state + 1j * x * moved), size * np.abs(x) + np.abs(state)
        return np.asarray(up(frobenius(residual) + gamma(n + 4) * frobenius(scale + np.abs(self.B)), 64))

    def arc(self, chart: str, centre: Array, h: Array) -> Arc:
        """Return samples and bounds on the arcs ``|t| <= h`` about the centres."""
        n = self.A.shape[0]
        g, beta, relative = self._inverse(chart, centre)
        value, error = self._value(chart, centre, g, relative)
        if chart == CIRCLE:
            Q = 1j * beta[:, None, None] * g - np.eye(n)
        else:
            Q = g if chart == AXIS else self.A @ g
        scale, size_g = np.abs(beta), frobenius(g)
        noise = relative + gamma(n + 8)
        if chart == CIRCLE:
            noise_q = noise * (2.0 * size_g + np.sqrt(n))
        else:
            noise_q = noise * size_g * (1.0 if chart == AXIS else frobenius(self.A[None]))
        size_q = frobenius(Q) + noise_q
        Q2 = Q @ Q
        Q4 = Q2 @ Q2
        q2 = frobenius(Q2) + 2.0 * noise_q * size_q * (1 + gamma(n)) + gamma(n) * size_q**2
        q4 = frobenius(Q4) + 4.0 * noise_q * size_q**3 * (1 + gamma(n)) + 3.0 * gamma(n) * size_q**4
        q2, q4 = np.fmin(q2, size_q**2), np.fmin(q4, q2**2)
        x = h * size_q
        squared = h * h * q2
        cubed = np.fmin(x * squared, x**3)
        fourth = h**4 * q4
        neumann = np.where(fourth < 0.5, (1.0 + x + squared + cubed) / (1.0 - np.minimum(fourth, 0.5)), np.inf)
        neumann = (1 + 1e-12) * np.fmin(neumann, np.where(x < 0.5, 1.0 / (1.0 - np.minimum(x, 0.5)), np.inf))
        left, right = self.C @ g, g @ self.B
        size_c, size_b = frobenius(self.C[None]) * size_g, frobenius(self.B[None]) * size_g
        left_norm, right_norm = frobenius(left) + noise * size_c, frobenius(right) + noise * size_b
        coefficients, noises = [value], [error]
        term, term_norm = right, right_norm
        chain = np.ones(centre.size)  # ||Q||^{k-1}, for the rounding of the products
        for k in range(1, self.order):
            coefficients.append((beta * (-1j) ** (k - 1))[:, None, None] * (left @ term))
            noises.append(up(scale * (k + 4) * noise * size_c * size_b * chain))
            term, chain = Q @ term, chain * size_q * (1 + noise)
            term_norm = frobenius(term) + (k + 3) * noise * size_b * chain
        remainder = scale * left_norm * term_norm * neumann ** (self.order + 1)
        crude = frobenius(value) + error + h * scale * left_norm * right_norm * neumann
        first, second, curvature = derivative_bounds(coefficients, noises, remainder, h, crude)
        bound = 1.01 * size_g * (1.0 + relative) * neumann
        if chart == CIRCLE:
            bound = bound * (1.0 + h * h)
        elif chart != AXIS:
            bound = bound * (np.abs(centre) + h)
        self._last = np.where(np.isfinite(bound), bound, np.inf)
        ok = np.isfinite(relative) & np.isfinite(neumann)
        first, second, curvature, crude = (
            np.where(ok, item, np.inf) * (1 + 1e-11) for item in (first, second, curvature, crude)
        )
        size, at_left, at_right = self._sizes(g, relative)
        extra_centre = self._model_error(chart, np.abs(centre), size, at_left, at_right)
        grown = neumann * ((1.0 + h * h) if chart == CIRCLE else 1.0)
        extra = self._model_error(chart, np.abs(centre) + h, size * grown, at_left * grown, at_right * grown)
        return Arc(value, error, extra_centre, first, second, curvature, crude, np.where(ok, extra, np.inf))

    def accept(self, settled: Array) -> None:
        """Note which of the arcs bounded last are part of the proof."""
        if settled.any():
            self.largest_resolvent = max(self.largest_resolvent, float(self._last[settled].max()))

    def stable_count(self) -> int | None:
        r"""Return the number of eigenvalues of A inside the stability region, or ``None`` if rounding hides it.

        The Schur form :math:`A = \tilde A + \Delta,\; \tilde A = UTU^{-1}` has the spectrum on the diagonal of T. If
        :math:`\|\Delta\|\sup\|(zI-A)^{-1}\| < 1` along the whole boundary, no eigenvalue crosses it between the two.
        """
        T, U = scipy.linalg.schur(self.A, output="complex")
        n = self.A.shape[0]
        residual = self.A @ U - U @ T
        size = np.linalg.norm(residual) + gamma(n) * 2.0 * np.linalg.norm(self.A) * np.linalg.norm(U) * (
            1 + n * gamma(n)
        )
        defect = np.linalg.norm(U.conj().T @ U - np.eye(n)) + gamma(n) * n
        if not (defect < 0.5 and (1.01 * size / (1.0 - defect) + self.A_error) * self.largest_resolvent < 1.0):
            return None
        values = np.diag(T)
        margin = discrete_margin(values) if self.discrete else -values.real
        return int((margin > 0).sum())


def _inverses(stack: Array) -> Array:
    """Invert every matrix of a stack; NaN for the singular ones."""
    try:
        return np.asarray(np.linalg.inv(stack))
    except np.linalg.LinAlgError:
        result = np.full(stack.shape, np.nan + 0j)
        for index, matrix in enumerate(stack):
            with contextlib.suppress(np.linalg.LinAlgError):
                result[index] = np.linalg.inv(matrix)
        return result
