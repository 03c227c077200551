"""IRKA: where it converges the error interpolates twice at the mirrored poles and no small change gains energy."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import scipy.linalg

from ssmreduce import Irka, reduce
from theory.errors import InputError, StabilityError
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.two_sided_iteration import two_sided_iteration
from theory.systems.system import StateSpace


def drawn(seed, discrete=True, real=True, n=8, m=2, p=3):
    rng = np.random.default_rng(seed)
    gauss = rng.standard_normal if real else lambda shape: rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    A = gauss((n, n))
    A = 0.8 * A / np.abs(np.linalg.eigvals(A)).max() - (0.0 if discrete else np.eye(n))
    return StateSpace(A, gauss((n, m)), gauss((p, n)), gauss((p, m)), dt=1.0 if discrete else None)


def energy(system, reduced):
    """Squared H2 norm of the error, from SciPy's Lyapunov equation of both together."""
    A = scipy.linalg.block_diag(system.A, reduced.A)
    B, C = np.vstack([system.B, reduced.B]), np.hstack([system.C, -reduced.C])
    solve = scipy.linalg.solve_discrete_lyapunov if system.is_discrete else scipy.linalg.solve_continuous_lyapunov
    P = solve(A, B @ B.conj().T * (1.0 if system.is_discrete else -1.0))
    return np.trace(C @ P @ C.conj().T).real


CASES = [(seed, discrete, real) for seed in range(4) for discrete in (True, False) for real in (True, False)]


@functools.cache
def iterated(case):
    """A system, where the iteration starts, what it finds."""
    system = drawn(*case)
    start = balanced_truncation(system, 3).system
    return system, start, two_sided_iteration(system, start)


@pytest.mark.parametrize("case", CASES)
def test_it_ends_at_a_stationary_point_not_above_its_start(case):
    _, discrete, real = case
    system, start, (found, _, converged) = iterated(case)
    least = energy(system, found)
    assert least <= energy(system, start) * (1 + 1e-9)
    assert found.is_real == real
    if not converged:
        return
    # Meier and Luenberger: along the residues the error and its derivative vanish at the mirrored poles
    poles, S = np.linalg.eig(found.A)
    left, right = found.C @ S, np.linalg.solve(S, found.B.astype(complex))

    def gap(z):
        return sum(
            sign * one.C @ np.linalg.solve(z * np.eye(one.n) - one.A, one.B)
            for sign, one in ((1, system), (-1, found))
        )

    for pole, c, b in zip(poles, left.T, right, strict=True):
        point, step = (1 / pole.conj() if discrete else -pole.conj()), 1e-4
        c, b = c / np.linalg.norm(c), b / np.linalg.norm(b)
        size = np.abs(gap(point * np.exp(0.3j))).max() + np.abs(gap(point)).max()
        assert np.abs(gap(point) @ b.conj()).max() <= 1e-6 * size
        assert np.abs(c.conj() @ gap(point)).max() <= 1e-6 * size
        slope = c.conj() @ (gap(point + step) - gap(point - step)) @ b.conj() / (2 * step)
        assert abs(slope) <= 1e-4 * size / min(1.0, abs(point))


def test_most_runs_converge_and_some_gain():
    """Over the cases above: what the method is for."""
    gains, converged = [], 0
    for case in CASES:
        system, start, found = iterated(case)
        converged += found.converged
        gains.append(energy(system, found.system) / energy(system, start))
    assert converged >= len(CASES) // 2
    assert np.median(gains) < 1.0


def test_through_the_api():
    system = drawn(0)
    found = reduce(system, 3, method="irka")
    assert found.diagnostics["converged"]
    assert "converged" in found.diagnostics["summary"]
    error = found.error()
    assert found.floor <= error.upper
    assert error.lower <= found.bound
    short = reduce(system, 3, method=Irka(iterations=1))
    assert not short.diagnostics["converged"]
    assert energy(system, found.system) <= energy(system, short.system) * (1 + 1e-9)


def test_what_it_is_not_for_is_refused():
    system = drawn(1)
    from contract_cases import KINDS

    for kind in ("S5", "S5 layer"):
        with pytest.raises(InputError, match="dense system"):
            reduce(KINDS[kind], 2, method="irka")
    start = balanced_truncation(system, 3).system
    with pytest.raises(InputError, match="differ in D"):
        two_sided_iteration(system, StateSpace(start.A, start.B, start.C, start.D + 1, dt=1.0))
    with pytest.raises(StabilityError):
        two_sided_iteration(system, StateSpace(2 * np.eye(3), start.B, start.C, start.D, dt=1.0))
    with pytest.raises(InputError, match="at least 1"):
        Irka(iterations=0)
