"""What a system does at a frequency, to machine precision however close a pole is to the boundary."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from theory.arithmetic.exact import two_sum
from theory.errors import InputError
from theory.systems.given import SystemLike, as_system
from theory.systems.margin import discrete_margin, state_scaling
from theory.systems.numeric import real
from theory.systems.system import DiagonalStateSpace, StateSpace

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


def contract(C: Array, weights: Array, B: Array) -> Array:
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
        response = contract(system.C, direct, system.B)
        if mirrored is not None:
            response = response + contract(system.C.conj(), mirrored, system.B.conj())
        if system.delay == 0:
            response = z * response
        if system.C_reverse is not None:
            # 1/(1/z - l) = conj(1/(z - conj l)) on the circle
            against = _resolvent(system.poles.conj(), omega, discrete) if mirrored is None else mirrored
            reverse = contract(system.C_reverse, against.conj(), system.B)
            if mirrored is not None:
                reverse = reverse + contract(system.C_reverse.conj(), direct.conj(), system.B.conj())
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
