"""Repeated poles: graded Schur coordinates are the same system, their errors are bounded, and the brackets close."""

from __future__ import annotations

import sys
from math import comb
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

from theory.norms import hinf_norm
from theory.norms.peaks.grid import Grid
from theory.norms.proofs.arcs import Cover
from theory.norms.responses.dense import GradedSchur
from theory.norms.responses.resolvent import Resolvent
from theory.systems.graded_schur import graded, grading
from theory.systems.system import StateSpace

sys.path.insert(0, str(Path(__file__).parents[1]))
from reference.gains import exact_gain

mp.mp.dps = 50


def jordan(n: int, margin: float, coupling: float = 1.0, *, rotated: bool = False, discrete: bool = True) -> StateSpace:
    """A block of n equal poles; with B = e_n, C = e_1 the gain is coupling^{n-1} / distance^n."""
    pole = 1.0 - margin if discrete else -margin
    A = pole * np.eye(n) + coupling * np.eye(n, k=1)
    B, C = np.eye(n)[:, -1:], np.eye(n)[:1]
    if rotated:
        T = np.linalg.qr(np.random.default_rng(n).normal(size=(n, n)))[0]
        A, B, C = T @ A @ T.T, T @ B, C @ T.T
    return StateSpace(A, B, C, dt=1.0 if discrete else None)


def companion(n: int) -> StateSpace:
    """``1/(s+1)^n`` in companion form."""
    A = np.eye(n, k=-1)
    A[0] = [-comb(n, k) for k in range(1, n + 1)]
    return StateSpace(A, np.eye(n)[:, :1], np.eye(n)[-1:])


@pytest.mark.parametrize("n", [2, 3, 4, 6])
@pytest.mark.parametrize("exponent", [2, 5, 7])
@pytest.mark.parametrize("discrete", [True, False])
def test_the_bracket_of_a_jordan_block_closes_on_its_formula(n: int, exponent: int, discrete: bool) -> None:
    margin = 2.0**-exponent
    bracket = hinf_norm(jordan(n, margin, discrete=discrete))
    truth = mp.mpf(2) ** (exponent * n)
    assert mp.mpf(bracket.lower) <= truth <= mp.mpf(bracket.upper)
    assert bracket.upper <= bracket.lower * (1 + 1e-8)


@pytest.mark.parametrize("n", [2, 4, 7, 10])
def test_a_pole_of_high_order_in_companion_form(n: int) -> None:
    bracket = hinf_norm(companion(n))
    assert bracket.lower <= 1 <= bracket.upper
    assert bracket.upper <= bracket.lower * (1 + 1e-8)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_rotated_block_is_bracketed_as_its_rounded_entries_say(n: int) -> None:
    system = jordan(n, 2.0**-5, rotated=True)
    bracket = hinf_norm(system)
    assert bracket.status == "closed"
    assert exact_gain(system, bracket.frequency) >= bracket.lower
    for x in np.concatenate([bracket.frequency + np.array([0, 1e-6, 1e-4, 1e-2]), np.linspace(0, 0.1, 11)]):
        assert exact_gain(system, float(x)) <= bracket.upper


@pytest.mark.parametrize("make", [lambda: jordan(5, 0.01), lambda: jordan(4, 0.1, rotated=True), lambda: companion(6)])
def test_graded_coordinates_are_a_similarity_up_to_their_errors(make: object) -> None:
    system: StateSpace = make()  # type: ignore[operator]
    found = graded(system)
    assert found is not None
    assert found.A_error <= 1e-14 * np.linalg.norm(found.A)
    assert found.B_error <= 1e-14 * np.linalg.norm(found.B)
    # The same transfer function in 50 digits, to what the errors allow
    for point in (mp.expj(0.3), mp.expj(2), mp.mpc(2, 1)):
        z, n = point, system.n
        exact = mp.matrix(system.C.tolist()) * mp.inverse(z * mp.eye(n) - mp.matrix(system.A.tolist()))
        value = (exact * mp.matrix(system.B.tolist()))[0, 0]
        R = mp.inverse(z * mp.eye(n) - mp.matrix(found.A.tolist()))
        C, B = mp.matrix(found.C.tolist()), mp.matrix(found.B.tolist())
        left, right, size = mp.norm(C * R), mp.norm(R * B), mp.mnorm(R, "f")
        allowed = left * found.A_error * right + left * found.B_error + found.C_error * right
        assert size * found.A_error < mp.mpf("0.1")
        assert abs((C * R * B)[0, 0] - value) <= allowed * mp.mpf("1.2")


def test_grading_keeps_couplings_below_the_gaps() -> None:
    rng = np.random.default_rng(0)
    poles = 1 - 10.0 ** rng.uniform(-4, -1, 7)
    T = np.triu(rng.normal(size=(7, 7)) * 10.0 ** rng.uniform(-3, 3, (7, 7)), 1) + np.diag(poles)
    scale = grading(T, discrete=True)
    assert (np.log2(scale) == np.round(np.log2(scale))).all()
    assert (np.diff(scale) <= 0).all()
    coupled = np.abs(T * scale / scale[:, None])
    for i in range(7):
        for j in range(i + 1, 7):
            gap = max(1 - poles[i], 1 - poles[j], 0.5 * abs(poles[i] - poles[j]))
            assert coupled[i, j] <= 0.75 * gap or scale[j] <= 2.0**-45
    assert (grading(np.diag(poles), discrete=True) == 1).all()


@pytest.mark.parametrize("size", [1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("discrete", [True, False])
def test_the_search_accounts_for_errors_of_the_matrices(size: float, discrete: bool) -> None:
    rng = np.random.default_rng(5)
    nominal = jordan(3, 0.25, 0.2, discrete=discrete)
    boundary = Resolvent(
        A=nominal.A,
        B=nominal.B,
        C=nominal.C,
        D=np.zeros((1, 1)),
        A_error=size,
        B_error=size,
        C_error=size,
        poles=nominal.poles,
        discrete=discrete,
        real=True,
    )
    search = Grid(boundary, 1e-6).search()
    upper = Cover(search).prove(budget=2000).upper

    def moved(x: np.ndarray, worst: bool) -> np.ndarray:
        direction = np.ones_like(x) if worst else rng.normal(size=x.shape)
        return x + size * direction / np.linalg.norm(direction)

    norms = []
    for worst in (True, *[False] * 10):
        other = StateSpace(*(moved(x, worst) for x in (nominal.A, nominal.B, nominal.C)), dt=nominal.dt)
        norms.append(hinf_norm(other))
    assert all(norm.lower <= upper for norm in norms)
    assert all(norm.upper >= search.best for norm in norms)
    # and the allowance is not idle
    assert upper > hinf_norm(nominal).upper * (1 + size)
    assert upper < hinf_norm(nominal).upper * (1 + 100 * size)


@pytest.mark.parametrize("seed", range(4))
def test_the_proof_of_stability_knows_the_resolvent_on_the_whole_circle(seed: int) -> None:
    # Schur coordinates of a real matrix are complex: their resolvent differs at z and at its conjugate
    rng = np.random.default_rng(seed)
    turn = 0.98 * np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    A = np.kron(np.eye(2), turn) + np.kron(np.eye(2, k=1), rng.normal(size=(2, 2)))
    T = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    system = StateSpace(T @ A @ T.T, rng.normal(size=(4, 1)), rng.normal(size=(1, 4)), dt=1.0)
    response = GradedSchur().write(system)
    assert response is not None
    boundary = response.form
    assert boundary.A_error > 0
    assert boundary.charts() == [("circle", -np.pi, np.pi)]
    search = Grid(boundary, 1e-6).search()
    Cover(search).prove(budget=2000)
    z = np.exp(1j * np.concatenate([np.angle(boundary.poles), np.linspace(-np.pi, np.pi, 400)]))
    sizes = [np.linalg.norm(np.linalg.inv(point * np.eye(4) - boundary.A), 2) for point in z]
    assert max(sizes) <= boundary.largest_resolvent
    assert boundary.stable_count() == 4
    bracket = hinf_norm(system)
    assert 0 <= bracket.frequency <= np.pi
    assert exact_gain(system, bracket.frequency) >= bracket.lower
