"""What a system does in time: impulse responses and simulated outputs, sample by sample, without any reduction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DimensionError, InputError, TimeBaseError
from theory.systems.given import SystemLike, as_system
from theory.systems.numeric import finite
from theory.systems.realization import anticausal_part, causal_part, standard_form
from theory.systems.response import contract
from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[Any]


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
        strict = contract(standard.C, _powers(standard.poles, max(length - 1, 0)), standard.B)
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
