r"""Gramians of a dense system in float64, with what rounding can have done to them.

Of a factor :math:`L`, however it was computed, the residual :math:`R=LL^*-ALL^*A^*-BB^*` (continuous time:
:math:`-ALL^*-LL^*A^*-BB^*`) is bounded. A second factor :math:`W` of about the Gramian with the identity on the right
side is a Lyapunov function: :math:`\|WW^*-AWW^*A^*-I\|\le r<1` proves that A is stable, and then

.. math:: -\rho\,WW^*\le LL^*-P\le\rho\,WW^*,\qquad \rho=\|R\|/(1-r),

in the sense of definite matrices. That bounds the error of :math:`\sigma_i^2`, which says little about small values.
For them the factor itself is judged: if :math:`[AL,B]\,Q=[L,0]+\Delta` with an orthogonal Q, then unrolling the
equation gives :math:`L=\mathcal CV+E` and :math:`\mathcal C=LV^*-E'` for the reachability matrix
:math:`\mathcal C=[B,AB,\dots]`, a contraction V and

.. math:: \|x^*E\|,\|x^*E'\|\le\|\Delta\|\sum_k\|x^*A^k\|,

so that :math:`\sigma_i` is off by a multiple of :math:`\|\Delta\|`, a few eps, however small it is. (In continuous time
:math:`[(A+c)L,\sqrt{2c}B]\,Q=[(c-A)L,0]+\Delta`.) Where float64 does not do, the proof in integers does
(:mod:`theory.gramians.balance_proof`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS, TINY, frobenius, gamma
from theory.equations.lyapunov import real_factor, triangular_factor
from theory.gramians.scaling import Scaled
from theory.systems.margin import discrete_margin

Array = NDArray[Any]

UPWARDS = 1.0 + 1e-6
"""Factor on every bound below, for the roundings of the bounds themselves: some n^2 of them, n in the thousands."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatGramians:
    """Factors of a scaled system: ``|Lc Lc^* - P| <= c_error Wc Wc^*``, likewise for Q."""

    scaled: Scaled
    Lc: Array
    Lo: Array
    Wc: Array
    Wo: Array
    c_error: float
    o_error: float
    c_turn: float  #: ``|x^* E| <= c_turn |x^* Wc|``
    o_turn: float

    def energy(self) -> tuple[float, float]:
        """Return ``trace(C P C^*)`` and a bound of its error."""
        C = self.scaled.C
        CL = C @ self.Lc
        rounding = 2.0 * gamma(C.shape[1]) * float(frobenius(np.abs(C) @ np.abs(self.Lc))) ** 2
        unknown = self.c_error * float(frobenius(np.abs(C) @ np.abs(self.Wc))) ** 2
        return float(np.sum(np.abs(CL) ** 2)), (rounding + unknown) * UPWARDS

    @cached_property
    def balanced(self) -> tuple[Array, Array, Array, Array]:
        """``Lo U``, the Hankel singular values, bounds of their errors, and ``Lc V``, scaled coordinates."""
        Lc, Lo, n = self.Lc, self.Lo, self.Lc.shape[0]
        M = Lo.conj().T @ Lc
        U, hsv, Vh = np.linalg.svd(M)
        eye = np.eye(n)
        apart = float(frobenius(M - (U * hsv) @ Vh)) + 2.0 * gamma(n) * n * float(hsv[0])
        turned = sum(float(frobenius(X.conj().T @ X - eye)) + n * gamma(n) for X in (U, Vh))
        plain = gamma(n) * float(frobenius(np.abs(Lo).T @ np.abs(Lc))) + apart + turned * float(hsv[0])
        cross = [
            float(frobenius(np.abs(X).T @ np.abs(Y))) for X, Y in ((self.Wo, Lc), (Lo, self.Wc), (self.Wo, self.Wc))
        ]
        square = self.o_error * cross[0] ** 2 + self.c_error * (cross[1] ** 2 + self.o_error * cross[2] ** 2)
        square *= UPWARDS
        with np.errstate(invalid="ignore", divide="ignore"):
            known = square / (hsv + np.sqrt(np.maximum(hsv**2 - square, 0.0)))
        error = np.where(hsv**2 > square, np.minimum(known, np.sqrt(square)), np.sqrt(square))
        turn = self.c_turn * cross[1] + self.o_turn * np.hypot(cross[0], np.sqrt(self.c_error) * cross[2])
        error = np.minimum(error, turn)
        return Lo @ U, hsv, (error + plain) * UPWARDS, Lc @ Vh.conj().T


def float_gramians(scaled: Scaled) -> FloatGramians | None:
    """Return the factors and their errors, or ``None`` where float64 does not prove that the system is stable."""
    A, B, C, discrete = scaled.A, scaled.B, scaled.C, scaled.discrete
    real = all(X.dtype.kind == "f" for X in (A, B, C))
    try:
        T, Z = scipy.linalg.schur(A, output="complex")
        poles = np.diag(T)
        margin = discrete_margin(poles) if discrete else -poles.real
        if not (margin > 0).all():
            return None
        flipped = T.conj().T[::-1, ::-1]  # the states in reverse order make the adjoint upper triangular
        with np.errstate(all="ignore"):
            Lc = Z @ triangular_factor(T, Z.conj().T @ B, discrete)
            Lo = Z @ triangular_factor(flipped, (Z.conj().T @ C.conj().T)[::-1], discrete)[::-1]
            if real:
                Lc, Lo = real_factor(Lc), real_factor(Lo)
            Wc, Wo = (_weight(state, turn, discrete, real) for state, turn in ((T, Z), (flipped, Z[:, ::-1])))
            c_error, c_turn = _errors(A, B, Lc, Wc, discrete)
            o_error, o_turn = _errors(A.conj().T, C.conj().T, Lo, Wo, discrete)
    except (np.linalg.LinAlgError, ValueError):  # ValueError: SciPy's word for what is not finite
        return None
    if not (np.isfinite(c_error) and np.isfinite(o_error)):
        return None
    return FloatGramians(
        scaled=scaled, Lc=Lc, Lo=Lo, Wc=Wc, Wo=Wo, c_error=c_error, o_error=o_error, c_turn=c_turn, o_turn=o_turn
    )


def _weight(T: Array, Z: Array, discrete: bool, real: bool) -> Array:
    """A factor of about the Gramian with the identity on the right side, by the equation itself."""
    n = T.shape[0]
    eye = np.eye(n)
    if discrete:
        # a turn of the circle keeps the solution, and takes the poles away from -1 for the Cayley map
        turns = np.exp(2j * np.pi * np.arange(16) / 16)
        turned = T * turns[int(np.argmax(np.abs(turns[:, None] * np.diag(T) + 1.0).min(axis=1)))]
        inverse = scipy.linalg.solve_triangular(turned + eye, eye, check_finite=False)
        state, right = inverse @ (turned - eye), -2.0 * inverse @ inverse.conj().T
    else:
        state, right = T, -eye.astype(complex)
    X, scale, _ = scipy.linalg.lapack.ztrsyl(state, state, right, trana="N", tranb="C")
    Y = Z @ (X / scale) @ Z.conj().T
    Y = Y.real if real else Y
    L: Array = np.linalg.cholesky(0.5 * (Y + Y.conj().T))
    return L


def _errors(A: Array, B: Array, L: Array, W: Array, discrete: bool) -> tuple[float, float]:
    """The bounds ``rho`` and, of E, ``turn`` of the head of this file; ``inf`` where stability is not proved."""
    right = B @ B.conj().T
    rounding = gamma(B.shape[1]) * float(frobenius(B)) ** 2
    missing, proof = _residual(A, right, rounding, L, discrete), _residual(A, np.eye(A.shape[0]), 0.0, W, discrete)
    if not proof < 0.5:
        return float("inf"), float("inf")
    least = 1.0 - proof
    # the sum of |x^* A^k|: x^* W W^* x falls by |x|^2 a step, and is between |x|^2 and |W|^2 |x|^2
    size = 1.001 * float(np.linalg.norm(W, 2)) ** 2
    if discrete:
        delta, amplified = _turned(A @ L, B, L, A, 0.0, L), 2.0 * size / least**1.5
    else:
        c = 2.0 ** round(math.log2(max(float(np.linalg.norm(A, 2)), TINY)))
        reach = 1.001 * float(np.linalg.norm(c * np.eye(A.shape[0]) - A, 2)) ** 2
        AL = A @ L
        delta = _turned(AL + c * L, math.sqrt(2.0 * c) * B, c * L - AL, A, c, L)
        amplified = size * reach / (c * math.sqrt(2.0 * c) * least**1.5)
    return missing / least * UPWARDS, delta * amplified * UPWARDS


def _turned(left: Array, B: Array, right: Array, A: Array, c: float, L: Array) -> float:
    """Bound the Delta in ``[left, B] Q = [right, 0] + Delta`` for some orthogonal Q."""
    n = A.shape[0]
    g = gamma(n + 4)
    whole = np.concatenate([left, B], axis=1)
    U, values, Vh = np.linalg.svd(right)
    floor = np.maximum(values, n * EPS * values[0] + TINY)
    Q, R = np.linalg.qr(((U.conj().T @ whole) / floor[:, None]).conj().T)
    phase = np.diag(R).copy()
    phase /= np.where(phase == 0, 1.0, np.abs(phase))
    rows = (Q * phase).conj().T
    scaled = U * values
    apart = float(frobenius(whole - scaled @ rows)) + g * float(frobenius(np.abs(scaled) @ np.abs(rows)))
    apart += float(frobenius(right - scaled @ Vh)) + g * float(frobenius(np.abs(scaled) @ np.abs(Vh)))
    eye = np.eye(n)
    for X in (rows, Vh):
        apart += (float(frobenius(X @ X.conj().T - eye)) + n * g) * float(frobenius(scaled))
    sides = 2.0 * g * float(frobenius(np.abs(A) @ np.abs(L))) + 4.0 * g * c * float(frobenius(L))
    return apart + sides + g * float(frobenius(whole))


def _residual(A: Array, right: Array, rounding: float, L: Array, discrete: bool) -> float:
    """Bound ``|L L^* - A L L^* A^* - right|``, or its continuous-time image; `right` is off by `rounding`."""
    g = gamma(A.shape[0])
    AL = A @ L
    moved = g * float(frobenius(np.abs(A) @ np.abs(L)))
    size, image = float(frobenius(L)), float(frobenius(AL))
    if discrete:
        R = (L @ L.conj().T - AL @ AL.conj().T) - right
        lost = g * (size**2 + image**2) + moved * (2.0 * image + moved)
    else:
        R = -(AL @ L.conj().T + L @ AL.conj().T) - right
        lost = 2.0 * (g * image + moved) * size
    sums = gamma(2) * (size**2 + image**2 + image * size + float(frobenius(right)))
    return (float(frobenius(R)) + lost + sums + rounding) * UPWARDS
