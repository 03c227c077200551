r"""Frequency response, impulse response and simulation: what a system does, computed without any reduction."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from theory.arithmetic.exact import two_sum
from theory.errors import DimensionError, InputError, TimeBaseError
from theory.systems.given import SystemLike, as_system
from theory.systems.margin import discrete_margin, state_scaling
from theory.systems.numeric import finite, real
from theory.systems.realization import anticausal_part, causal_part, standard_form
from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[Any]

_TWO_PI = (6.283185307179586, 2.4492935982947064e-16)  # 2 pi as head + tail


def frequency_response(system: SystemLike, omega: ArrayLike) -> Array:
    r"""Return :math:`G(e^{j\omega})`, in continuous time :math:`G(j\omega)`.

    For a diagonal system each resolvent is evaluated from the margin :math:`1-|\lambda|` and the angle difference
    :math:`d=\omega-\arg\lambda`,

    .. math:: e^{j\omega}-\lambda = e^{j\arg\lambda}\bigl[(1-|\lambda|) - 2\sin^2(d/2) + j\sin d\bigr],

    so that peaks of poles at 1e-9 from the circle are right to machine precision, where the plain difference keeps
    7 digits.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable or not; conjugate pairs, delay, both directions of time, and batches are handled.
    omega : array_like, shape (k,)
        Frequencies in rad/sample (rad/s in continuous time, where ``inf`` is allowed).

    Returns
    -------
    ndarray of complex, shape (..., k, p, m)
        Infinite where a frequency hits a pole.

    Notes
    -----
    Diagonal: O(k n p m). Dense: one complex Schur form, then back substitution for all frequencies at once, O(n^3 + k
    n^2 m).
    """
    system = as_system(system)
    grid = np.atleast_1d(real("omega", omega))
    if grid.ndim != 1 or np.isnan(grid).any() or (system.is_discrete and np.isinf(grid).any()):
        raise InputError("omega must be a one-dimensional array of frequencies, finite in discrete time")
    if isinstance(system, StateSpace):
        return _dense_response(system, grid)
    return _diagonal_response(system, grid)


def _angles(poles: Array) -> tuple[Array, Array]:
    """The arguments of the poles as head + tail (the tail from extended precision, 0 where there is none)."""
    extended = np.arctan2(poles.imag.astype(np.longdouble), poles.real.astype(np.longdouble))
    head = extended.astype(float)
    return head, (extended - head).astype(float)


def _resolvent(poles: Array, omega: Array, discrete: bool) -> Array:
    """``1/(z - poles)`` for each frequency, (..., k, n); infinite on a pole."""
    grid = omega[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        if not discrete:
            apart = -poles.real[..., None, :] + 1j * np.where(np.isinf(grid), 0.0, grid - poles.imag[..., None, :])
            response = np.where(np.isinf(grid), 0.0, 1.0 / apart)
            return np.where(apart == 0, np.where(np.isinf(grid), 0.0, complex(np.inf)), response)
        head, tail = (part[..., None, :] for part in _angles(poles))
        total, lost = two_sum(grid, -head)
        turns = np.round(total / _TWO_PI[0])
        d = (total - turns * _TWO_PI[0]) + (lost - tail - turns * _TWO_PI[1])
        half = np.sin(0.5 * d)
        gap = discrete_margin(poles)[..., None, :]
        # e^{jd} - |l| with |l| = 1 - gap
        apart = (gap - 2.0 * half * half) + 1j * np.sin(d)
        turn = np.cos(head) - 1j * np.sin(head)
        return np.where(apart == 0, complex(np.inf), turn / apart)


def _contract(C: Array, weights: Array, B: Array) -> Array:
    """``C diag(weights[k]) B`` for all k: (..., p, n), (..., k, n), (..., n, m) -> (..., k, p, m)."""
    p, n, m = C.shape[-2], C.shape[-1], B.shape[-1]
    if p * m * n <= 4096:  # residues fit the cache: one product for all frequencies
        residues = np.swapaxes(C, -1, -2)[..., :, :, None] * B[..., :, None, :]
        product = weights @ residues.reshape(*residues.shape[:-2], p * m)
        return product.reshape(*product.shape[:-1], p, m)  # type: ignore[no-any-return]
    return (C[..., None, :, :] * weights[..., None, :]) @ B[..., None, :, :]


def _diagonal_response(system: DiagonalStateSpace, omega: Array) -> Array:
    discrete = system.is_discrete
    z = np.exp(1j * omega)[:, None, None] if discrete else np.ones(1)  # continuous time has no delay to apply
    direct = _resolvent(system.poles, omega, discrete)
    mirrored = _resolvent(system.poles.conj(), omega, discrete) if system.conjugate_pairs else None
    with np.errstate(invalid="ignore"):
        response = _contract(system.C, direct, system.B)
        if mirrored is not None:
            response = response + _contract(system.C.conj(), mirrored, system.B.conj())
        if system.delay == 0:
            response = z * response
        if system.C_reverse is not None:
            # 1/(1/z - l) = conj(1/(z - conj l)) on the circle
            against = _resolvent(system.poles.conj(), omega, discrete) if mirrored is None else mirrored
            reverse = _contract(system.C_reverse, against.conj(), system.B)
            if mirrored is not None:
                reverse = reverse + _contract(system.C_reverse.conj(), direct.conj(), system.B.conj())
            response = response + (reverse if system.delay_reverse else reverse / z)
    hit: Array = np.any(np.isinf(direct), axis=-1)
    if mirrored is not None:
        hit = hit | np.any(np.isinf(mirrored), axis=-1)
    response = np.where(hit[..., None, None], complex(np.inf), response)
    return response + system.D[..., None, :, :]


def _dense_response(system: StateSpace, omega: Array) -> Array:
    n, m, p, k = system.n, system.m, system.p, omega.size
    response = np.empty((k, p, m), dtype=complex)
    response[:] = system.D
    if n == 0:
        return response
    d = state_scaling(system.A)
    T, Q = scipy.linalg.schur(system.A * d / d[:, None], output="complex")
    B, C = Q.conj().T @ (system.B / d[:, None]), (system.C * d) @ Q
    z = np.exp(1j * omega) if system.is_discrete else 1j * np.where(np.isinf(omega), 0.0, omega)
    diagonal = np.diag(T)
    chunk = max(1, 2_000_000 // (n * max(m, 1)))  # 32 MB of states at a time
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for start in range(0, k, chunk):
            points = z[start : start + chunk]
            states = np.empty((n, points.size * m), dtype=complex)
            for j in range(n - 1, -1, -1):
                known = T[j, j + 1 :] @ states[j + 1 :]
                states[j] = ((B[j] + known.reshape(-1, m)) / (points - diagonal[j])[:, None]).reshape(-1)
            response[start : start + chunk] += (C @ states).reshape(p, -1, m).swapaxes(0, 1)
    response[(z[:, None] == diagonal).any(1)] = complex(np.inf)
    response[np.isinf(omega)] = system.D
    return response


def impulse_response(system: SystemLike, length: int) -> Array:
    r"""Return the Markov parameters :math:`h_0,\dots,h_{\text{length}-1}` of a causal discrete-time system.

    ``delay=1``: :math:`h_0=D,\ h_k=CA^{k-1}B`; ``delay=0``: :math:`h_0=D+CB,\ h_k=C\Lambda^kB`.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Discrete time, one direction (:func:`two_sided_impulse_response` takes both).
    length : int
        Number of samples.

    Returns
    -------
    ndarray, shape (..., length, p, m)
        Real for a real system.

    Raises
    ------
    TimeBaseError
        The system runs in continuous time: discretize it first.
    InputError
        The system is bidirectional, or `length` is negative.
    """
    system = as_system(system)
    _require_discrete(system, "impulse_response")
    length = _whole(length, at_least=0)
    if isinstance(system, DiagonalStateSpace):
        standard = standard_form(system)
        response = np.empty((*system.batch_shape, length, system.p, system.m), dtype=complex)
        response[..., :1, :, :] = standard.D[..., None, :, :]
        strict = _contract(standard.C, _powers(standard.poles, max(length - 1, 0)), standard.B)
        response[..., 1:, :, :] = 2.0 * strict.real if standard.conjugate_pairs else strict
        return response.real.copy() if standard.conjugate_pairs else response
    kind = float if system.is_real else complex
    markov = np.empty((length, system.p, system.m), dtype=kind)
    markov[:1] = system.D
    state = system.B
    for k in range(1, length):
        markov[k] = system.C @ state
        state = system.A @ state
    return markov


def two_sided_impulse_response(system: SystemLike, length: int) -> Array:
    r"""Return :math:`h_{-(\text{length}-1)},\dots,h_0,\dots,h_{\text{length}-1}`; lag 0 sits at index ``length - 1``.

    The output is :math:`y_k=\sum_i h_i u_{k-i}`; negative lags belong to the reverse direction, and are zero without
    one.

    Parameters, errors: as :func:`impulse_response`, bidirectional systems welcome; `length` at least 1.

    Returns
    -------
    ndarray, shape (..., 2 length - 1, p, m)
    """
    system = as_system(system)
    _require_discrete(system, "two_sided_impulse_response")
    length = _whole(length, at_least=1)
    bidirectional = isinstance(system, DiagonalStateSpace) and system.is_bidirectional
    forward = impulse_response(causal_part(system) if isinstance(system, DiagonalStateSpace) else system, length)
    both = np.concatenate([np.zeros_like(forward[..., 1:, :, :]), forward], axis=-3)
    if bidirectional:
        backward = impulse_response(anticausal_part(system), length)  # type: ignore[arg-type]
        both[..., :length, :, :] += backward[..., ::-1, :, :]
    return both


def _powers(poles: Array, count: int) -> Array:
    """``poles**k`` for k < count, (..., count, n), by repeated doubling."""
    powers = np.ones((*poles.shape[:-1], count, poles.shape[-1]), dtype=complex)
    done, leap = 1, poles[..., None, :]
    while done < count:
        more = min(done, count - done)
        powers[..., done : done + more, :] = powers[..., :more, :] * leap
        done, leap = done + more, leap * leap
    return powers


def simulate(system: SystemLike, u: ArrayLike, x0: ArrayLike | None = None) -> Array:
    r"""Return the output for the input `u`, sample by sample.

    The state obeys :math:`x_k=\Lambda x_{k-1}+Bu_k` with :math:`x_{-1}` = `x0`; ``delay=0`` outputs
    :math:`Cx_k+Du_k`, ``delay=1`` outputs :math:`Cx_{k-1}+Du_k` (the standard form). The reverse direction runs the
    same recursion backwards in time from rest, and its output is added.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Discrete time.
    u : array_like, shape (..., L, m)
        Leading axes broadcast against the batch of the system.
    x0 : array_like, shape (..., n), optional
        State before the first sample (stored states of a diagonal system); zero when left out.

    Returns
    -------
    ndarray, shape (..., L, p)
        Real for a real system and a real input.

    Raises
    ------
    TimeBaseError, DimensionError
    """
    system = as_system(system)
    _require_discrete(system, "simulate")
    signal = finite("u", u)
    if signal.ndim < 2 or signal.shape[-1] != system.m:
        raise DimensionError(f"u must have shape (..., L, m) with m = {system.m}", u=signal.shape)
    start = None if x0 is None else finite("x0", x0)
    if start is not None:
        _require_state(start, system, signal)
    if isinstance(system, StateSpace):
        start = np.zeros(system.n) if start is None else start
        states = _dense_states(system, signal, start)
        return states @ system.C.T + signal @ system.D.T  # type: ignore[no-any-return]
    if system.conjugate_pairs and signal.dtype.kind == "c":  # 2 Re(C x) is not linear over the complex numbers
        return simulate(system, signal.real, start) + 1j * simulate(system, signal.imag)
    through = signal @ np.swapaxes(system.D, -1, -2)
    output = _scan_output(system.poles, system.B, system.C, signal, start, system.delay)
    if system.C_reverse is not None:
        flipped = signal[..., ::-1, :]
        output = (
            output
            + _scan_output(system.poles, system.B, system.C_reverse, flipped, None, system.delay_reverse)[..., ::-1, :]
        )
    return (2.0 * output.real if system.conjugate_pairs else output) + through  # type: ignore[no-any-return]


def _scan_output(poles: Array, B: Array, C: Array, u: Array, x0: Array | None, delay: int) -> Array:
    driven = u @ np.swapaxes(B, -1, -2)  # (..., L, n)
    state = np.zeros(driven.shape[:-2] + driven.shape[-1:], dtype=complex)
    if x0 is not None:
        state = state + x0
    states = np.empty((*state.shape[:-1], *driven.shape[-2:]), dtype=complex)
    for k in range(driven.shape[-2]):
        if delay:
            states[..., k, :] = state
        state = poles * state + driven[..., k, :]
        if not delay:
            states[..., k, :] = state
    return states @ np.swapaxes(C, -1, -2)


def _dense_states(system: StateSpace, u: Array, x0: Array) -> Array:
    driven = u @ system.B.T
    kind = np.result_type(system.A, driven, x0)
    state = np.broadcast_to(x0, (*driven.shape[:-2], system.n)).astype(kind)
    states = np.empty(driven.shape, dtype=kind)
    for k in range(driven.shape[-2]):
        states[..., k, :] = state
        state = state @ system.A.T + driven[..., k, :]
    return states


def _whole(length: Any, *, at_least: int) -> int:
    if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or length < at_least:
        raise InputError(f"length must be a whole number of samples, at least {at_least}, got {length!r}")
    return int(length)


def _require_state(x0: Array, system: System, u: Array) -> None:
    """Refuse a state that is not of the system's size, or does not go with the signals' leading axes."""
    batch = system.batch_shape if isinstance(system, DiagonalStateSpace) else ()
    try:
        np.broadcast_shapes(x0.shape[:-1], u.shape[:-2], batch)
        fits = x0.shape[-1:] == (system.n,)
    except ValueError:
        fits = False
    if not fits:
        raise DimensionError(f"x0 must have shape (..., n) with n = {system.n}", x0=x0.shape, u=u.shape)


def _require_discrete(system: System, name: str) -> None:
    if not system.is_discrete:
        raise TimeBaseError(f"{name} needs discrete time; use discretize(system, dt) first", system.dt)
