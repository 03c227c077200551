"""Dense continuous-time systems with the structure of the classic model reduction benchmarks, made from formulas.

Heat conduction, convection-diffusion, transmission lines and flexible structures, up to 348 states. Norms that have a
closed form come with it.
"""

from __future__ import annotations

import numpy as np

from theory.systems.system import StateSpace


def heat_rod(n: int = 200) -> StateSpace:
    """Heat equation on a rod, both ends at temperature 0, heated at one third and measured at two thirds.

    A symmetric positive Green's function: the gain is largest at frequency 0.
    """
    h = 1.0 / (n + 1)
    A = (np.diag(np.full(n, -2.0)) + np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)) / h**2
    B, C = np.zeros((n, 1)), np.zeros((1, n))
    B[n // 3, 0], C[0, 2 * n // 3] = 1.0 / h, 1.0
    return StateSpace(A, B, C)


def heat_rod_norm(n: int = 200) -> float:
    """``-C A^{-1} B`` of :func:`heat_rod`: the Green's function ``x (1 - y)`` of the difference equation is exact."""
    x, y = (n // 3 + 1) / (n + 1), (2 * n // 3 + 1) / (n + 1)
    return x * (1.0 - y)


def convection_diffusion(nx: int = 7, ny: int = 12, speed: float = 20.0) -> StateSpace:
    """``u_t = u_xx + u_yy + speed u_x + 180 u`` on the unit square, five-point differences: 84 states, not normal."""

    def second(k: int) -> np.ndarray:
        return (np.diag(np.full(k, -2.0)) + np.diag(np.ones(k - 1), 1) + np.diag(np.ones(k - 1), -1)) * (k + 1) ** 2

    first = (np.diag(np.ones(nx - 1), 1) - np.diag(np.ones(nx - 1), -1)) * (nx + 1) / 2.0
    A = np.kron(np.eye(ny), second(nx) + speed * first) + np.kron(second(ny), np.eye(nx))
    rng = np.random.default_rng(1)
    return StateSpace(A, rng.normal(size=(nx * ny, 1)), rng.normal(size=(1, nx * ny)))


def transmission_line(sections: int = 128, *, R: float = 0.1, L: float = 1e-9, C: float = 1e-12) -> StateSpace:
    """A ladder of series R-L and shunt capacitors in SI units: voltage in, voltage at the open end out.

    At frequency 0 no current flows: the gain there is 1, the resonances are above. States in volts and amperes differ
    by the line's impedance, rates are of 1e10 rad/s.
    """
    n = 2 * sections
    A, B, out = np.zeros((n, n)), np.zeros((n, 1)), np.zeros((1, n))
    for k in range(sections):
        current, voltage = 2 * k, 2 * k + 1
        A[current, current], A[current, voltage], A[voltage, current] = -R / L, -1.0 / L, 1.0 / C
        if k:
            A[current, voltage - 2] = 1.0 / L
            A[voltage - 2, current] = -1.0 / C
    B[0, 0], out[0, -1] = 1.0 / L, 1.0
    return StateSpace(A, B, out)


def flexible_structure(
    modes: int,
    *,
    damping: float,
    inputs: int = 1,
    outputs: int = 1,
    top: float = 100.0,
    units: float = 1.0,
    seed: int = 0,
) -> StateSpace:
    """``q'' + 2 z w q' + w^2 q = b u``, ``y = c q'``, in nodal coordinates (rotated): two states a mode.

    Frequencies log-spaced up to `top`; `units` scales positions against velocities.
    """
    rng = np.random.default_rng(seed)
    w = np.geomspace(1.0, top, modes)
    Q = np.linalg.qr(rng.normal(size=(modes, modes)))[0]
    K, D = Q @ np.diag(w**2) @ Q.T, Q @ np.diag(2 * damping * w) @ Q.T
    A = np.block([[np.zeros((modes, modes)), np.eye(modes) * units], [-K / units, -D]])
    B = np.vstack([np.zeros((modes, inputs)), Q @ rng.normal(size=(modes, inputs))])
    C = np.hstack([np.zeros((outputs, modes)), rng.normal(size=(outputs, modes)) @ Q.T])
    return StateSpace(A, B, C)


def collocated_structure(modes: int, *, damping: float, seed: int = 0) -> tuple[StateSpace, float]:
    """One actuator a mode with its own sensor: the norm is the largest ``b^2 / (2 z w)``, in closed form.

    ``y = b q'`` of ``q'' + 2 z w q' + w^2 q = b u`` peaks at w with ``b^2 / (2 z w)``; all modes stay diagonal under a
    rotation of the coordinates, of inputs and of outputs.
    """
    rng = np.random.default_rng(seed)
    w, b = np.geomspace(1.0, 300.0, modes), 10.0 ** rng.uniform(-1, 1, modes)
    A = np.zeros((2 * modes, 2 * modes))
    k = np.arange(modes)
    A[2 * k, 2 * k + 1], A[2 * k + 1, 2 * k], A[2 * k + 1, 2 * k + 1] = w, -w, -2 * damping * w
    B, C = np.zeros((2 * modes, modes)), np.zeros((modes, 2 * modes))
    B[2 * k + 1, k], C[k, 2 * k + 1] = b, b
    return StateSpace(A, B, C), float((b**2 / (2 * damping * w)).max())


def clamped_beam(elements: int = 174, damping: float = 5e-3) -> StateSpace:
    """A clamped-free beam in finite differences damped in proportion, force and velocity at the tip: 348 states."""
    n, h = elements, 1.0 / elements
    D2 = (np.diag(np.full(n, -2.0)) + np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)) / h**2
    D2[-1, -1] = -1.0 / h**2
    K = D2 @ D2
    A = np.block([[np.zeros((n, n)), np.eye(n)], [-K, -damping * (np.eye(n) + K * 1e-6)]])
    B, C = np.zeros((2 * n, 1)), np.zeros((1, 2 * n))
    B[-1, 0], C[0, -1] = 1.0, 1.0
    return StateSpace(A, B, C)
