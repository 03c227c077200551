r"""Who is wrong, if two programs differ: one frequency response, evaluated with a bound of its own error.

A value below a gain that some frequency attains is too low, and the frequency proves it; a gain above our upper end
would prove us wrong. Either is said only of a gain whose *interval* proves it. Where float64 cannot tell, nobody is
blamed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ssmreduce.comparison.peers import kernel
from ssmreduce.results import ABOVE, AGREES, BELOW, DISAGREES, UNDECIDED, Opinion
from theory.arithmetic.products import product
from theory.arithmetic.rounding import EPS
from theory.norms.bracket import Bracket
from theory.systems.difference import difference
from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[np.complexfloating]

FUNCTIONS = 16.0
"""Errors of the elementary functions, quotients and products of one mode, in units of EPS: about ten operations, each
of at most one unit (angle, sine and expm1 included), and room."""

REFINEMENTS = 3
"""Steps of iterative refinement: each multiplies the error by the condition number times EPS, or nothing helps."""


def gain_ends(system: System, omega: float) -> tuple[float, float]:
    r"""Return proved ends of the largest singular value of the response at one frequency.

    `omega` is the exact float64, in rad/sample (rad/s in continuous time); ``inf`` stands for the limit.

    Notes
    -----
    Dense: with an approximate inverse Y of :math:`M = zI - A` and :math:`\|I - YM\| = q < 1`, the error of X in
    :math:`MX = B` is at most :math:`\|Y R\| / (1 - q)` in the Frobenius norm, where the residual R is taken in extended
    precision and is enlarged by the rounding of z. Where :math:`q \ge 1` the ends are 0 and infinity.
    Diagonal: partial fractions, in which :math:`1 - \lambda e^{-j\omega}` is formed without cancellation.
    """
    if min(system.p, system.m) == 0:
        return 0.0, 0.0
    if system.n == 0 or not np.isfinite(omega):
        value, error = np.asarray(system.D, dtype=complex), 0.0
    elif isinstance(system, StateSpace):
        value, error = _dense(system, omega)
    else:
        value, error = _diagonal(system, omega)
    if not (np.isfinite(value).all() and np.isfinite(error)):
        return 0.0, np.inf
    size = float(np.linalg.norm(value))
    gain = size if min(value.shape) == 1 else float(np.linalg.svd(value, compute_uv=False)[0])
    error = (error + 8.0 * (system.p + system.m) * EPS * size) * (1 + 8 * EPS)
    return max(gain - error, 0.0) * (1 - 2 * EPS), (gain + error) * (1 + 2 * EPS)


def difference_ends(system: System, reduced: System, omega: float, channel: int = 0) -> tuple[float, float]:
    """:func:`gain_ends` of a difference; of a batch, that of one channel (its flat index)."""
    error = difference(system, reduced)
    if isinstance(error, DiagonalStateSpace) and error.batch_shape:
        error = error[np.unravel_index(channel, error.batch_shape)]
    return gain_ends(error, omega)


def _dense(system: StateSpace, omega: float) -> tuple[Array, float]:
    """The response, and a bound of its error in the Frobenius norm."""
    n = system.n
    A, B, C, D = (np.asarray(x, dtype=complex) for x in (system.A, system.B, system.C, system.D))
    z = np.exp(1j * omega) if system.is_discrete else 1j * omega
    M = z * np.eye(n) - A  # rounded: what is solved is proved by the residual of the pieces below
    with np.errstate(all="ignore"):
        try:
            Y = np.linalg.inv(M)
        except np.linalg.LinAlgError:
            return D, np.inf
        X, low = Y @ B, np.zeros_like(B)
        doubt = 2.0 * EPS if system.is_discrete else 0.0  # of the point on the circle
        pieces = np.hstack([z * np.eye(n), -A, z * np.eye(n), -A])
        if not (np.isfinite(Y).all() and np.isfinite(X).all()):
            return D, np.inf
        for _ in range(REFINEMENTS):
            residual, _ = product(pieces, np.vstack([X, X, low, low]), minus=B)
            low = low - Y @ residual.astype(complex)
            total = X + low
            X, low = total, low - (total - X)
        residual, unknown = product(pieces, np.vstack([X, X, low, low]), minus=B)
        q_matrix, q_unknown = product(np.hstack([Y * z, -Y]), np.vstack([np.eye(n), A]), minus=np.eye(n))
        q = float(np.linalg.norm(q_matrix.astype(complex)) + np.linalg.norm(q_unknown))
        q += (2.0 * EPS + doubt) * abs(z) * float(np.linalg.norm(Y))
        if not q < 1.0:
            return D, np.inf
        left = np.abs(residual).astype(float) + unknown + doubt * (np.abs(X) + np.abs(low))
        # ||C E|| with E = M^{-1} R = Y R + (I - Y M) E: the first term entry by entry, the rest by norms
        spread = float(np.linalg.norm(np.abs(Y) @ left)) / (1.0 - q)
        wrong = float(np.linalg.norm(np.abs(C) @ (np.abs(Y) @ left))) + float(np.linalg.norm(C)) * q * spread
        top, bottom = product(np.hstack([C, C, D]), np.vstack([X, low, np.eye(system.m)]))
        value = top.astype(complex)
        rounding = float(np.linalg.norm(bottom)) + EPS * float(np.linalg.norm(value))
        return value, (wrong + rounding) * (1.0 + 8.0 * (n + 8) * EPS)


def _diagonal(system: DiagonalStateSpace, omega: float) -> tuple[Array, float]:
    """The response, and a bound of its error in the Frobenius norm."""
    value: Array = np.asarray(system.D, dtype=complex)
    error = EPS * float(np.linalg.norm(value))
    for conjugate in (False, True) if system.conjugate_pairs else (False,):
        directions = [(system.C, 1.0, system.delay)]
        if system.C_reverse is not None:
            directions.append((system.C_reverse, -1.0, system.delay_reverse))
        for C, sign, delay in directions:
            theta = sign * (-omega if conjugate else omega)
            modes, doubt = _modes(system, theta, delay)
            part = (C * modes) @ system.B
            weight = np.linalg.norm(C, axis=0) * np.abs(modes) * np.linalg.norm(system.B, axis=1)
            value = value + (part.conj() if conjugate else part)
            error += float(weight @ (doubt + 4.0 * (system.n + 8) * EPS))
    return value, (error + 4 * EPS * float(np.linalg.norm(value))) * (1 + 1e-10)


def _modes(system: DiagonalStateSpace, theta: float, delay: int) -> tuple[Array, NDArray[np.floating]]:
    """The modes' functions at one frequency, and bounds of their relative errors."""
    if not system.is_discrete:
        modes = 1.0 / (1j * theta - system.poles)
        return modes, np.full(system.n, FUNCTIONS * EPS)
    modes = kernel(system, np.array([theta]), delay)[0]
    # the difference of two angles up to pi is off by 2 EPS pi; that moves 1 - pole exp(-j theta) by as much
    return modes, FUNCTIONS * EPS * (1.0 + np.abs(modes) * np.abs(system.poles))


def judged(
    source: str, system: System, value: float, frequency: float, ours: Bracket, tolerance: float, seconds: float
) -> Opinion:
    """Compare the value of a program that was asked for `tolerance` with our bracket, and say exactly where it lies.

    Outside by no more than its tolerance, it is below or above and nobody is wrong. Farther outside, one evaluation of
    the response decides, if its proved ends can.
    """
    witness = float(ours.frequency)
    gap, wrong, detail, verdict = 0.0, "", "", AGREES
    if not np.isfinite(value):
        gap, verdict, detail = np.inf, UNDECIDED, f"{source} gives {value}"
    elif value < ours.lower:
        gap = value / ours.lower - 1.0
        verdict, detail = BELOW, f"{value:.10g} is {-gap:.1e} below the lower end, asked for {tolerance:.0e}"
        if -gap > tolerance:
            low, high = gain_ends(system, witness)
            verdict = UNDECIDED
            detail = f"{value:.10g} is {-gap:.1e} below the lower end; {_known(low, high, witness)}"
            if low > value * (1 + tolerance):
                wrong, verdict = "theirs", DISAGREES
                short = f"{value:.6g} is {-100 * gap:.2g} % too low"
                detail = f"{source} is wrong, {short}: the gain at {witness:.6g} is {low:.6g}"
            elif high < ours.lower:
                wrong, verdict = "ours", DISAGREES
                detail = f"we are wrong, our lower end {ours.lower:.6g} is not attained: {high:.6g} at {witness:.6g}"
    elif value > ours.upper:
        gap = value / ours.upper - 1.0 if ours.upper > 0 else np.inf
        low, high = gain_ends(system, frequency)
        if low > ours.upper:
            wrong, verdict = "ours", DISAGREES
            detail = f"we are wrong, our upper end {ours.upper:.6g} is exceeded: {low:.6g} at {frequency:.6g}"
        elif gap <= tolerance:
            verdict, detail = ABOVE, f"{value:.10g} is {gap:.1e} above the upper end, asked for {tolerance:.0e}"
        elif high < value * (1 - tolerance):
            wrong, verdict = "theirs", DISAGREES
            at = f"at its own frequency {frequency:.6g}"
            detail = f"{source} is wrong, {value:.6g} is not attained: the gain {at} is {high:.6g}"
        else:
            verdict = UNDECIDED
            detail = f"{value:.10g} is {gap:.1e} above the upper end; {_known(low, high, frequency)}"
    return Opinion(
        source=source,
        verdict=verdict,
        value=value,
        frequency=frequency,
        gap=float(gap),
        wrong=wrong,
        detail=detail,
        seconds=seconds,
    )


def _known(low: float, high: float, frequency: float) -> str:
    return f"float64 cannot tell who is wrong: the gain at {frequency:.6g} is between {low:.6g} and {high:.6g}"
