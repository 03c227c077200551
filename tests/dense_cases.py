"""Dense systems that float64 gets wrong, and their exact Gramians: the equation as linear equations, in 120 digits."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import mpmath
import numpy as np
import scipy.signal

from theory.systems.system import StateSpace

DIGITS = 120
"""Lyapunov equations of filters of order ten near the circle have condition numbers of 1e50."""


def companion(b: np.ndarray, a: np.ndarray) -> StateSpace:
    """The controller form of b / a, the coefficients as they are."""
    n = len(a) - 1
    A = np.zeros((n, n))
    A[0], A[1:, :-1] = -a[1:], np.eye(n - 1)
    return StateSpace(A, np.eye(n)[:, :1], (b[1:] - b[0] * a[1:])[None], [[b[0]]], dt=1.0)


def draw_filter(rng: np.random.Generator, orders: tuple[int, int] = (3, 11)) -> StateSpace:
    """A digital filter with a corner between 0.003 and 0.8 of half the sample rate, in companion form."""
    n, corner = int(rng.integers(orders[0], orders[1] + 1)), 10 ** rng.uniform(-2.5, -0.1)
    band = corner < 0.3 and rng.random() < 0.25
    where = {"Wn": [corner, corner * rng.uniform(1.5, 3)], "btype": "bandpass"} if band else {"Wn": corner}
    n = max(1, n // 2) if band else n
    ripple, stop = rng.uniform(0.1, 3), rng.uniform(20, 80)
    make = rng.choice(["butter", "cheby1", "cheby2", "ellip", "bessel"])
    shape = {"butter": (), "bessel": (), "cheby1": (ripple,), "cheby2": (stop,), "ellip": (ripple, stop)}[str(make)]
    b, a = getattr(scipy.signal, str(make))(n, *shape, **where)
    if rng.random() >= 0.3:
        return companion(b, a)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.signal.BadCoefficients)  # tiny leading coefficients are dropped
        return StateSpace(*scipy.signal.tf2ss(b, a), dt=1.0)


def draw_stiff(rng: np.random.Generator) -> StateSpace:
    """An integer matrix with integer poles from 1 to 1e12 rad/s: T diag(poles) T^{-1} with T of determinant one."""
    n = int(rng.integers(2, 5))
    lower, upper = (np.eye(n, dtype=object) for _ in range(2))
    for i in range(n):
        for j in range(i):
            lower[i, j], upper[j, i] = int(rng.integers(-2, 3)), int(rng.integers(-2, 3))
    T = mpmath.matrix((lower @ upper).tolist())
    rates = [int(10 ** rng.uniform(0, 12)) for _ in range(n)]
    with mpmath.workdps(60):
        exact = T * mpmath.diag([-rate for rate in rates]) * mpmath.inverse(T)
        A = [[float(mpmath.nint(exact[i, j])) for j in range(n)] for i in range(n)]
    return StateSpace(A, rng.integers(-3, 4, (n, 1)).astype(float), rng.integers(-3, 4, (1, n)).astype(float))


def draw_random(rng: np.random.Generator) -> StateSpace:
    """Normal entries, several inputs and outputs, a margin of 1e-7 to 1."""
    n, discrete = int(rng.integers(1, 8)), bool(rng.random() < 0.5)
    m, p = (int(rng.integers(1, 4)) for _ in range(2))
    A, gap = rng.normal(size=(n, n)), 10 ** rng.uniform(-7, -0.3)
    values = np.linalg.eigvals(A)
    A = A * (1 - gap) / np.abs(values).max() if discrete else A - (values.real.max() + gap) * np.eye(n)
    B, C = rng.normal(size=(n, m)), rng.normal(size=(p, n))
    return StateSpace(A, B, C, dt=1.0 if discrete else None)


DRAWS = {"filter": draw_filter, "stiff": draw_stiff, "random": draw_random}


def _matrix(array: np.ndarray) -> mpmath.matrix:
    return mpmath.matrix([[mpmath.mpf(float(x)) for x in row] for row in np.atleast_2d(array)])


def _solve(A: mpmath.matrix, R: mpmath.matrix, discrete: bool) -> mpmath.matrix:
    """``X - A X A^T = R``, or ``-A X - X A^T = R``, for a symmetric X: n (n+1) / 2 linear equations."""
    n = A.rows
    place = {pair: k for k, pair in enumerate((i, j) for i in range(n) for j in range(i, n))}
    K, right = mpmath.zeros(len(place)), mpmath.zeros(len(place), 1)
    for (i, j), k in place.items():
        right[k] = R[i, j]
        if discrete:
            K[k, k] += 1
            terms = [(A[i, a] * A[j, b], a, b) for a in range(n) if A[i, a] for b in range(n) if A[j, b]]
        else:
            terms = [(A[i, a], a, j) for a in range(n)] + [(A[j, a], i, a) for a in range(n)]
        for factor, a, b in terms:
            K[k, place[min(a, b), max(a, b)]] -= factor
    x = mpmath.lu_solve(K, right)
    return mpmath.matrix([[x[place[min(i, j), max(i, j)]] for j in range(n)] for i in range(n)])


@dataclass(frozen=True)
class Exact:
    """What is true of the float64 matrices as they are."""

    stable: bool
    hsv: np.ndarray
    h2: float


def exact(system: StateSpace) -> Exact:
    """Solve both equations and take eigenvalues, all in :data:`DIGITS` digits."""
    with mpmath.workdps(DIGITS):
        A, B, C = _matrix(system.A), _matrix(system.B), _matrix(system.C)
        poles = mpmath.eig(A, left=False, right=False)
        stable = all((abs(z) < 1) if system.is_discrete else (mpmath.re(z) < 0) for z in poles)
        P, Q = _solve(A, B * B.T, system.is_discrete), _solve(A.T, C.T * C, system.is_discrete)
        values = mpmath.eig(P * Q, left=False, right=False)
        hsv = np.array(sorted((float(mpmath.sqrt(abs(mpmath.re(z)))) for z in values), reverse=True))
        R = C * P * C.T
        energy = mpmath.fsum(R[i, i] for i in range(R.rows)) + mpmath.fsum(
            mpmath.mpf(float(x)) ** 2 for x in system.D.flat
        )
        infinite = not system.is_discrete and system.D.any()
        return Exact(stable, hsv, np.inf if infinite else float(mpmath.sqrt(abs(energy))))


def attained_error(system: StateSpace, reduced: StateSpace) -> float:
    """The largest gain of the difference at the frequencies of all poles and some others, in 60 digits."""
    poles = np.concatenate([system.poles, reduced.poles])
    if system.is_discrete:
        frequencies = {0.0, 0.01, 0.1, 1.0, np.pi, *np.abs(np.angle(poles)).tolist()}
    else:
        frequencies = {0.0, *np.abs(poles.imag).tolist(), *np.abs(poles).tolist()}
    with mpmath.workdps(60):

        def response(one: StateSpace, point: mpmath.mpc) -> mpmath.matrix:
            D = _matrix(one.D)
            return (
                D + _matrix(one.C) * mpmath.inverse(point * mpmath.eye(one.n) - _matrix(one.A)) * _matrix(one.B)
                if one.n
                else D
            )

        best = 0.0
        for frequency in frequencies:
            point = mpmath.expj(frequency) if system.is_discrete else mpmath.mpc(0, frequency)
            gap = response(system, point) - response(reduced, point)
            entries = np.array([[complex(gap[i, j]) for j in range(gap.cols)] for i in range(gap.rows)])
            best = max(best, float(np.linalg.norm(entries, 2)))
        return best
