"""Systems from continuous to discrete time and back, with one sample time: zero-order hold and the bilinear rule.

Step sizes of single states are the concern of :mod:`theory.systems.discrete_modes`.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.arithmetic.near_inverse import is_regular
from theory.errors import AccuracyError, InputError, TimeBaseError
from theory.systems.discrete_modes import bilinear, inverse_bilinear, inverse_zero_order_hold, zero_order_hold
from theory.systems.given import SystemLike, as_system
from theory.systems.margin import spectral_rounding
from theory.systems.numeric import validated_dt
from theory.systems.realization import feedthrough_of_delay
from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[Any]

LOGARITHM_TOL = 1e-9
"""Relative to the norm of A: what the exponential of its logarithm may be off by; well-conditioned ones reach 1e-15."""

Rule = Literal["zoh", "bilinear", "tustin"]


def discretize(system: SystemLike, dt: float, rule: Rule = "zoh") -> System:
    r"""Return the discrete-time system of sample time `dt`.

    ``"zoh"``: the same outputs at the sampling instants for inputs that are constant in between.
    ``"bilinear"``: :math:`G_d(z)=G\bigl(\tfrac2{dt}\tfrac{z-1}{z+1}\bigr)`, which keeps the H-infinity norm and the
    Hankel singular values :cite:p:`G84`; ``"tustin"`` is its other name.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Continuous time. A diagonal system stays diagonal (and a batch a batch).
    dt : float
        Sample time in seconds.
    rule : {"zoh", "bilinear", "tustin"}

    Raises
    ------
    TimeBaseError
        The system runs in discrete time already, or `dt` is not a positive number.
    InputError
        The bilinear rule meets a pole at 2/dt.
    AccuracyError
        Rounding cannot tell whether there is one.

    Notes
    -----
    Dense zero-order hold: one matrix exponential of the block matrix [[A, B], [0, 0]] dt.
    """
    system = as_system(system)
    if system.is_discrete:
        raise TimeBaseError("the system runs in discrete time already", system.dt)
    if (h := validated_dt(dt)) is None:
        raise TimeBaseError("discretize needs a sample time", dt)
    _check_rule(rule)
    if isinstance(system, DiagonalStateSpace):
        if rule == "zoh":
            poles, B, _ = zero_order_hold(system.poles, system.B, h)
            return system.replace(poles=poles, B=B, dt=h)
        poles, B, _ = bilinear(system.poles, system.B, h)
        # the full substitution: C (I - A h/2)^{-1}, and D + C (I - A h/2)^{-1} B h/2
        C = system.C / (1.0 - 0.5 * h * system.poles)[..., None, :]
        half = system.replace(C=0.5 * system.C)
        D = system.D + feedthrough_of_delay(half.replace(B=B))
        return system.replace(poles=poles, B=B, C=C, D=D, dt=h)
    A, B, C, D, n = system.A, system.B, system.C, system.D, system.n
    if rule == "zoh":
        block = np.zeros((n + system.m, n + system.m), dtype=np.result_type(A, B))
        block[:n, :n], block[:n, n:] = A * h, B * h
        held = scipy.linalg.expm(block)
        return StateSpace(held[:n, :n], held[:n, n:], C, D, dt=h)
    below = np.eye(n) - 0.5 * h * A
    factor = _factor(below, "a pole at 2/dt; the bilinear rule has no image for it")
    mapped_B = scipy.linalg.lu_solve(factor, B)
    A_d = scipy.linalg.lu_solve(factor, np.eye(n) + 0.5 * h * A)
    C_d = scipy.linalg.lu_solve(factor, C.T, trans=1).T
    return StateSpace(A_d, h * mapped_B, C_d, D + 0.5 * h * C @ mapped_B, dt=h)


def undiscretize(system: SystemLike, rule: Rule = "zoh") -> System:
    """Return the continuous-time system that :func:`discretize` turns into this one (principal logarithm).

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Discrete time; a diagonal one in the standard form (``delay=1``, one direction).
    rule : {"zoh", "bilinear", "tustin"}

    Raises
    ------
    TimeBaseError
        The system runs in continuous time.
    InputError
        A pole has no image: 0 ("zoh"; of a dense system that is not triangular a pole that rounding cannot tell from
        0), -1 ("bilinear"), or, for a real dense system under "zoh", a pole on the negative real axis (there the
        principal logarithm is not real).
    AccuracyError
        The exponential of the computed logarithm is not `A` to `LOGARITHM_TOL`, or rounding cannot tell whether there
        is a pole at -1.
    """
    system = as_system(system)
    if not system.is_discrete:
        raise TimeBaseError("the system runs in continuous time already", system.dt)
    _check_rule(rule)
    h = float(system.dt)  # type: ignore[arg-type]
    if isinstance(system, DiagonalStateSpace):
        if system.delay != 1 or system.C_reverse is not None:
            raise InputError(
                "undiscretize needs the standard form: take theory.systems.realization.standard_form first"
            )
        if rule == "zoh":
            poles, B = inverse_zero_order_hold(system.poles, system.B, h)
            return system.replace(poles=poles, B=B, dt=None)
        poles, B = inverse_bilinear(system.poles, system.B, h)
        C = system.C * (1.0 - 0.5 * h * poles)[..., None, :]
        half = system.replace(C=0.5 * C)
        return system.replace(poles=poles, B=B, C=C, D=system.D - feedthrough_of_delay(half), dt=None)
    A, B, C, D, n = system.A, system.B, system.C, system.D, system.n
    if n == 0:
        return StateSpace(A, B, C, D, dt=None)
    if rule == "zoh":
        poles = system.poles
        lost = np.abs(poles) <= spectral_rounding(A)
        if system.is_real:
            lost |= (poles.real < 0) & (poles.imag == 0)
        if lost.any():
            raise InputError(f"the pole {poles[lost][0]:.6g} has no continuous-time image under zero-order hold")
        log = _logarithm(A)
        block = np.zeros((2 * n, 2 * n), dtype=log.dtype)
        block[:n, :n], block[:n, n:] = log, np.eye(n) * h
        held = scipy.linalg.expm(block)[:n, n:]  # h phi_1(log A)
        return StateSpace(log / h, np.linalg.solve(held, B), C, D, dt=None)
    factor = _factor(np.eye(n) + A, "a pole at -1; the bilinear rule maps no finite pole onto it")
    A_c = 2.0 / h * scipy.linalg.lu_solve(factor, A - np.eye(n))
    B_c = 2.0 / h * scipy.linalg.lu_solve(factor, B)
    C_c = 2.0 * scipy.linalg.lu_solve(factor, C.T, trans=1).T
    return StateSpace(A_c, B_c, C_c, D - C @ scipy.linalg.lu_solve(factor, B), dt=None)


def _logarithm(A: Array) -> Array:
    """The principal logarithm, real for a real A without poles on the negative real axis, or an error."""
    # an upper triangular matrix is not brought to Schur form, which would round small poles away
    order = slice(None) if np.triu(A, 1).any() else slice(None, None, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy's own doubts are checked here
        log = scipy.linalg.logm(A[order, order])[order, order]
        log = log if np.iscomplexobj(A) else log.real
        back = scipy.linalg.expm(log)
    error = float(np.linalg.norm(back - A) / np.linalg.norm(A))
    if not error <= LOGARITHM_TOL:
        raise AccuracyError(
            f"the exponential of the computed logarithm is off by {error:.2g} of A's norm: A has no logarithm that "
            "float64 can reach; scale the states alike, or pass the system in diagonal form",
            error,
        )
    return np.asarray(log)


def _check_rule(rule: str) -> None:
    if rule not in ("zoh", "bilinear", "tustin"):
        raise InputError(f"the discretization rule is 'zoh' or 'bilinear' (also called 'tustin'), got {rule!r}")


def _factor(matrix: Array, pole: str) -> tuple[Array, Array]:
    """LU factors of a matrix that is proved to be regular; a singular one means that the system has this `pole`."""
    n = matrix.shape[0]
    if n == 0:
        return matrix, np.zeros(0, dtype=int)
    functions: Any = scipy.linalg.get_lapack_funcs(("getrf", "getri"), (matrix,))
    getrf, getri = functions
    factor, pivots, info = getrf(matrix)
    if info > 0:
        raise InputError(f"the system has {pole}")
    inverse, info = getri(factor, pivots, lwork=64 * n)
    if info != 0 or not is_regular(matrix, inverse):
        raise AccuracyError(
            f"rounding cannot tell whether the system has {pole}: choose another sample time",
            float(np.linalg.cond(matrix)),
        )
    return factor, pivots
