"""Dense reductions against pyMOR: Hankel values, H2 norm, balanced truncation, and the iterations towards H2 optima.

Run where pyMOR is installed (the extra "bench"; 2026.1.1 was). Where the two differ:

- H2 norm in continuous time: pyMOR leaves the feedthrough out, with which the norm is infinite, as ours is.
- TSIA and IRKA are of continuous time there; ours are of both.
- With several inputs and outputs pyMOR's IRKA ends where the error does not interpolate along the residues, by 2e-4 to
  5e-2 of the response on the systems below, at another place with ``projection="biorth"``, and above our energy; its
  TSIA, which has the same stationary points, ends where ours does.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from theory.gramians.h2 import h2_norm
from theory.gramians.hankel import hankel_singular_values
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.two_sided_iteration import two_sided_iteration
from theory.systems.response import frequency_response
from theory.systems.system import StateSpace

pytest.importorskip("pymor")

ORDER, SEEDS, TIMES = 3, range(4), (1.0, None)
OMEGA = np.linspace(0.1, 3.0, 31)
CONVERGED = 1e-6
"""Relative to the response: both iterations end when their poles move by 1e-10, and converge linearly."""


def drawn(seed, time, m=2, p=3, n=8):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A = 0.8 * A / np.abs(np.linalg.eigvals(A)).max() - (np.eye(n) if time is None else 0.0)
    return StateSpace(A, rng.standard_normal((n, m)), rng.standard_normal((p, n)), rng.standard_normal((p, m)), dt=time)


def model(system):
    from pymor.core.logger import set_log_levels
    from pymor.models.iosys import LTIModel

    set_log_levels({"pymor": "ERROR"})
    return LTIModel.from_matrices(system.A, system.B, system.C, system.D, sampling_time=system.dt or 0)


def ours(reduced, like):
    """A model of pyMOR as a system: it comes with a matrix E."""
    A, B, C, _, E = reduced.to_matrices()
    A, B = (A, B) if E is None else (np.linalg.solve(E, A), np.linalg.solve(E, B))
    return StateSpace(A, B, C, like.D, dt=like.dt)


def gap(one, other):
    wanted = frequency_response(other, OMEGA)
    return np.abs(frequency_response(one, OMEGA) - wanted).max() / np.abs(wanted).max()


def energy(system, reduced):
    """Squared H2 norm of the error in continuous time, from SciPy's Lyapunov equation of both together."""
    A = scipy.linalg.block_diag(system.A, reduced.A)
    B, C = np.vstack([system.B, reduced.B]), np.hstack([system.C, -reduced.C])
    return np.trace(C @ scipy.linalg.solve_continuous_lyapunov(A, -B @ B.T) @ C.T)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_values_norms_and_balanced_truncation(seed, time):
    from pymor.reductors.bt import BTReductor

    system = drawn(seed, time)
    theirs, hsv = model(system), hankel_singular_values(system)
    assert np.abs(theirs.hsv() - hsv).max() <= 1e-10 * hsv[0]
    if time is None:
        assert h2_norm(system) == np.inf
        strict = StateSpace(system.A, system.B, system.C, dt=time)
        assert theirs.h2_norm() == pytest.approx(h2_norm(strict), rel=1e-10)
    else:
        assert theirs.h2_norm() == pytest.approx(h2_norm(system), rel=1e-10)
    for order in range(1, system.n):
        apart = (hsv[order - 1] - hsv[order]) / hsv[0]
        found = ours(BTReductor(theirs).reduce(order), system)
        assert gap(balanced_truncation(system, order).system, found) <= 1e-9 / apart


@pytest.mark.parametrize("seed", SEEDS)
def test_tsia_ends_where_ours_does(seed):
    from pymor.reductors.h2 import TSIAReductor

    system = drawn(seed, None)
    start = balanced_truncation(system, ORDER).system
    mine, _, converged = two_sided_iteration(system, start)
    assert converged
    theirs = TSIAReductor(model(system)).reduce(model(start), tol=1e-10, maxit=300)
    assert gap(mine, ours(theirs, system)) <= CONVERGED


@pytest.mark.parametrize("seed", SEEDS)
def test_irka_of_one_input_and_output_ends_where_ours_does(seed):
    from pymor.reductors.h2 import IRKAReductor

    system = drawn(seed, None, m=1, p=1)
    start = balanced_truncation(system, ORDER).system
    mine, _, converged = two_sided_iteration(system, start)
    theirs = IRKAReductor(model(system)).reduce(model(start), tol=1e-10, maxit=300)
    assert converged
    assert gap(mine, ours(theirs, system)) <= CONVERGED


@pytest.mark.parametrize("seed", SEEDS)
def test_irka_of_several_ports_is_not_below_ours(seed):
    from pymor.reductors.h2 import IRKAReductor

    system = drawn(seed, None)
    start = balanced_truncation(system, ORDER).system
    mine = two_sided_iteration(system, start).system
    theirs = ours(IRKAReductor(model(system)).reduce(model(start), tol=1e-10, maxit=300), system)
    assert energy(system, mine) <= energy(system, theirs) * (1 + 1e-9)
