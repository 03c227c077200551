r"""Other programs' view of our systems: real dense realizations with well-scaled modes, and gains by another route.

Python-control and slycot take real matrices of one causal (or L-infinity) system. Complex systems go in through
the real embedding :math:`[\Re\; -\Im; \Im\; \Re]`, which has the same norm; bidirectional layers as an unstable system
(poles :math:`1/\lambda`), whose L-infinity norm is the one wanted. Every mode is rescaled to
:math:`|b_i| = |c_i|` first (a similarity): without it slycot's ``ab13dd`` has been
seen to under-report by 18 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DimensionError, InputError
from theory.systems.pairs import real_embedding, real_input, real_output, real_state_matrix
from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[Any]


def rescaled(system: DiagonalStateSpace) -> DiagonalStateSpace:
    """Return the same transfer function with ``|b_i| = |c_i|`` for every mode (modes without effect are dropped)."""
    outputs = system.C if system.C_reverse is None else np.concatenate([system.C, system.C_reverse], axis=-2)
    b, c = np.linalg.norm(system.B, axis=-1), np.linalg.norm(outputs, axis=-2)
    alive = (b > 0) & (c > 0)
    scale = np.where(alive, np.sqrt(np.where(alive, c, 1.0)) / np.sqrt(np.where(alive, b, 1.0)), 1.0)
    C_reverse = None if system.C_reverse is None else system.C_reverse / scale[..., None, :]
    scaled = system.replace(B=system.B * scale[..., :, None], C=system.C / scale[..., None, :], C_reverse=C_reverse)
    return scaled.keep(alive) if alive.ndim == 1 else scaled


def peer_matrices(system: System) -> tuple[Array, Array, Array, Array, Array]:
    r"""Return real ``(A, B, C, D, E)`` with :math:`C(zE-A)^{-1}B + D` of the same norm over the boundary.

    ``E`` is the identity but for bidirectional layers, where the reverse direction is
    :math:`-C_r(z\Lambda - I)^{-1}B`.
    """
    E: Array
    if isinstance(system, StateSpace):
        A, B, C, D = system.A, system.B, system.C, system.D
        E = np.eye(system.n)
    else:
        if system.batch_shape:
            raise DimensionError("other programs take one system at a time; index the batch", batch=system.batch_shape)
        A, B, C, D, E = _diagonal_matrices(rescaled(system))
    if any(np.iscomplexobj(array) for array in (A, B, C, D, E)):
        A, B, C, D, E = (real_embedding(x) for x in (A, B, C, D, E))
    return A, B, C, D, E


def _diagonal_matrices(system: DiagonalStateSpace) -> tuple[Array, Array, Array, Array, Array]:
    pole, B, C, D = system.poles, system.B, system.C, system.D
    if system.delay == 0:
        C, D = C * pole, D + (2.0 * (C @ B).real if system.conjugate_pairs else C @ B)
    A, E = pole, np.ones_like(pole)
    if system.C_reverse is not None:
        C_reverse = system.C_reverse
        reverse = -C_reverse
        if system.delay_reverse == 1:  # z C_r (I - z L)^{-1} B, by z = (1/L)(I - (I - zL)): needs 1/L
            if (pole == 0).any():
                raise InputError("a pole at zero has no inverse, so the reverse direction has no realization here")
            reverse = -C_reverse / pole
            feedthrough = -(C_reverse / pole) @ B
            D = D + (2.0 * feedthrough.real if system.conjugate_pairs else feedthrough)
        A, E = np.concatenate([A, np.ones_like(pole)]), np.concatenate([E, pole])
        B, C = np.vstack([B, B]), np.hstack([C, reverse])
    if not system.conjugate_pairs:
        return np.diag(A), B, C, D, np.diag(E)
    return real_state_matrix(A), real_input(B), real_output(C), D, real_state_matrix(E)


def thinned(matrices: tuple[Array, ...]) -> tuple[Array, ...]:
    """Shrink tall outputs and wide inputs by QR when there is no feedthrough: same norm, smaller matrices."""
    A, B, C, D, E = matrices
    n = A.shape[0]
    if D.any() or n == 0:
        return matrices
    if C.shape[0] > n:
        C = np.asarray(np.linalg.qr(C, mode="r"))
    if B.shape[1] > n:
        B = np.asarray(np.linalg.qr(B.T, mode="r")).T
    return A, B, C, np.zeros((C.shape[0], B.shape[1])), E


def response(system: System, omega: ArrayLike) -> Array:
    r"""Frequency response by partial fractions (diagonal) or complex solves (dense), shape (..., W, p, m).

    `omega` is in rad/sample, in continuous time in rad/s.

    Written apart from :mod:`theory.systems.response`, so that the two check each other. For a diagonal system
    :math:`1 - \lambda e^{-j\omega} = (1-|\lambda|) + |\lambda|(1 - e^{j(\arg\lambda-\omega)})`, without cancellation.
    """
    omega = np.atleast_1d(np.asarray(omega, dtype=float))
    if isinstance(system, StateSpace):
        return _dense_response(system, omega)
    if not system.is_discrete:
        kernel = 1.0 / (1j * omega[:, None] - system.poles[..., None, :])
        value = (system.C[..., None, :, :] * kernel[..., None, :]) @ system.B[..., None, :, :]
        if system.conjugate_pairs:
            kernel = 1.0 / (1j * omega[:, None] - system.poles.conj()[..., None, :])
            value = value + (system.C.conj()[..., None, :, :] * kernel[..., None, :]) @ system.B.conj()[..., None, :, :]
        return np.asarray(value + system.D[..., None, :, :])
    value = _half(system, omega)
    if system.conjugate_pairs:
        value = value + _half(system, -omega).conj()
    return np.asarray(value + system.D[..., None, :, :])


def _half(system: DiagonalStateSpace, theta: Array) -> Array:
    """The stored half of a discrete diagonal system, without ``D``."""
    B = system.B[..., None, :, :]
    value = (system.C[..., None, :, :] * kernel(system, theta, system.delay)[..., None, :]) @ B
    if system.C_reverse is not None:
        reverse = kernel(system, -theta, system.delay_reverse)
        value = value + (system.C_reverse[..., None, :, :] * reverse[..., None, :]) @ B
    return np.asarray(value)


def kernel(system: DiagonalStateSpace, theta: Array, delay: int) -> Array:
    """``z^{1-delay} / (z - pole)`` with ``z = exp(j theta)``, shape (..., W, n)."""
    modulus, angle = np.abs(system.poles)[..., None, :], np.angle(system.poles)[..., None, :]
    value = 1.0 / (system.margin[..., None, :] - modulus * np.expm1(1j * (angle - theta[:, None])))
    return np.asarray(value * np.exp(-1j * theta)[:, None] if delay == 1 else value)


def _dense_response(system: StateSpace, omega: Array) -> Array:
    z = np.exp(1j * omega) if system.is_discrete else 1j * omega
    value = np.empty((omega.size, system.p, system.m), dtype=complex)
    for k, point in enumerate(z):
        if system.n == 0 or not np.isfinite(point):
            value[k] = system.D
        else:
            value[k] = system.C @ np.linalg.solve(point * np.eye(system.n) - system.A, system.B) + system.D
    return value


def gain(system: System, omega: ArrayLike) -> Array:
    """Largest singular value of the response at each frequency, shape (..., W)."""
    value = response(system, omega)
    if min(value.shape[-2:]) == 0:
        return np.zeros(value.shape[:-2])
    if min(value.shape[-2:]) == 1:
        return np.asarray(np.linalg.norm(value, axis=(-2, -1)))
    return np.asarray(np.linalg.svd(value, compute_uv=False)[..., 0])


def grid(system: System, points: int, extra: ArrayLike = ()) -> Array:
    """Frequencies that a sweep should not miss: around every pole as narrowly as it is damped, and a uniform rest."""
    poles = np.unique(system.poles.ravel())
    real = system.is_real
    if system.is_discrete:
        width = np.abs(1.0 - np.abs(poles))
        centre = np.angle(poles)
        lines = [centre + k * width for k in (-3.0, -1.0, -0.3, 0.0, 0.3, 1.0, 3.0)]
        omega = np.concatenate([*lines, np.linspace(0.0 if real else -np.pi, np.pi, points)])
        omega = (omega + np.pi) % (2 * np.pi) - np.pi
    else:
        scale = np.abs(poles)[np.abs(poles) > 0]
        low, high = (scale.min() / 100, scale.max() * 100) if scale.size else (0.01, 100.0)
        lines = [poles.imag + k * np.abs(poles.real) for k in (-3.0, -1.0, -0.3, 0.0, 0.3, 1.0, 3.0)]
        wide = np.geomspace(low, high, points)
        omega = np.concatenate([*lines, [0.0], wide if real else np.concatenate([wide, -wide])])
    omega = np.concatenate([np.abs(omega) if real else omega, np.asarray(extra, dtype=float).ravel()])
    return np.asarray(np.unique(omega[np.isfinite(omega)]))
