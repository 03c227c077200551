"""The modes of a dense system with their remainder are the system, in 60 digits; products beyond float64."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from tolerance import tol

from theory.arithmetic.products import product
from theory.norms.responses.dense import modal_sum
from theory.norms.responses.modes import ModalSum
from theory.systems.graded_schur import graded
from theory.systems.system import StateSpace


def matrix(kind: str, rng: np.random.Generator, n: int = 5) -> np.ndarray:
    A = rng.normal(size=(n, n))
    A = 0.99 * A / np.abs(np.linalg.eigvals(A)).max()
    if kind == "complex":
        return A * np.exp(0.7j)
    if kind == "scaled":
        s = 10.0 ** rng.uniform(-6, 6, n)
        return A * s[:, None] / s
    if kind == "companion":
        A = np.eye(n, k=-1)
        A[0] = -np.poly(rng.uniform(0.5, 0.99, n))[1:]
        return A
    if kind == "clustered":
        T = np.diag(0.9 + 1e-6 * np.arange(n)) + np.triu(rng.normal(size=(n, n)), 1) * 1e-3
        Q = np.linalg.qr(rng.normal(size=(n, n)))[0]
        return Q @ T @ Q.T
    return A


KINDS = ["random", "complex", "scaled", "companion", "clustered"]


def system(kind: str, seed: int) -> StateSpace:
    rng = np.random.default_rng(seed)
    A = matrix(kind, rng)
    return StateSpace(A, rng.normal(size=(len(A), 2)), rng.normal(size=(3, len(A))), rng.normal(size=(3, 2)), dt=1.0)


def exact(array: np.ndarray) -> mp.matrix:
    return mp.matrix([[mp.mpc(complex(x)) for x in row] for row in array])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_every_eigenvalue_lies_in_its_disc(kind: str, steps: int, seed: int) -> None:
    given = system(kind, seed)
    modes = modal_sum(given, steps=steps)
    assert modes is not None
    assert modes.low is not None
    radii = modes.radii
    with mp.workdps(60):
        values = mp.eig(exact(given.A), left=False, right=False)
        centres = [mp.mpc(complex(p)) + mp.mpc(complex(c)) for p, c in zip(modes.poles, modes.low, strict=True)]
        for value in values:  # Gershgorin's discs hold all of them together, and each of these is in one
            assert any(abs(value - centre) <= radius for centre, radius in zip(centres, radii, strict=True))
        for centre, margin in zip(centres, modes.margin, strict=True):
            assert abs(1 - abs(centre) - margin) <= 1e-14 * abs(margin) + 1e-31


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [0, 3])
def test_modes_and_remainder_are_the_response(kind: str, steps: int, seed: int) -> None:
    given = system(kind, seed)
    modes = modal_sum(given, steps=steps)
    assert modes is not None
    assert modes.low is not None
    for angle in (0.1, 1.0, 2.5):
        with mp.workdps(60):
            z = mp.expj(mp.mpf(angle))
            truth = exact(given.C) * mp.inverse(z * mp.eye(given.n) - exact(given.A)) * exact(given.B) + exact(given.D)
            r = [1 / (z - mp.mpc(complex(p)) - mp.mpc(complex(c))) for p, c in zip(modes.poles, modes.low, strict=True)]
            modal = exact(modes.C) * mp.diag(r) * exact(modes.B) + exact(modes.D)
            missed = mp.mnorm(truth - modal, "f")
            size = np.array([float(abs(x)) * (1 + 1e-14) for x in r])
            allowed = float(modes.loss(size[None]).absolute[0])
            assert missed <= allowed
            scale = float(mp.mnorm(truth, "f"))
        if steps and kind in {"random", "complex", "scaled"}:
            assert allowed <= 1e-9 * scale


def test_newton_steps_leave_the_remainder_small() -> None:
    for kind in ("random", "companion", "scaled"):
        given = system(kind, 7)
        found: list[ModalSum | None] = [modal_sum(given, steps=steps) for steps in (0, 3)]
        assert found[0] is not None
        assert found[1] is not None
        assert found[1].radii.max() < 1e-2 * found[0].radii.max()


@pytest.mark.parametrize("seed", range(6))
def test_newton_steps_lose_nothing_of_what_reaches_repeated_poles(seed: int) -> None:
    """Their vectors turn among themselves in a step; inputs and outputs go with them."""
    rng = np.random.default_rng(seed)
    T = np.eye(8) + 0.3 * rng.normal(size=(8, 8)) / np.sqrt(8)
    A = T @ np.diag(np.repeat([0.9, 0.99, -0.5, 0.7], 2)) @ np.linalg.inv(T)
    modes = modal_sum(StateSpace(A, rng.normal(size=(8, 2)), rng.normal(size=(3, 8)), dt=1.0), steps=3)
    assert modes is not None
    assert modes.perturbation is not None
    assert modes.perturbation.b_error.max() <= tol(8, 1e3) * modes.row_sizes.max()
    assert modes.perturbation.c_error.max() <= tol(8, 1e3) * modes.column_sizes.max()


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 2), (4, 30, 3)])
def test_a_product_that_cancels_keeps_its_bound(shape: tuple[int, int, int], complex_: bool) -> None:
    rng = np.random.default_rng(11)
    a, b, c = shape
    X = rng.normal(size=(a, b)) * 10.0 ** rng.uniform(-6, 6, (a, b))
    Y = rng.normal(size=(b, c)) + (1j * rng.normal(size=(b, c)) if complex_ else 0)
    close = X @ Y
    value, bound = product(X, Y, minus=close)
    with mp.workdps(60):
        truth = exact(X) * exact(Y) - exact(close)
        for i in range(a):
            for j in range(c):
                high = complex(value[i, j])
                low = complex(value[i, j] - np.clongdouble(high))
                assert abs(truth[i, j] - mp.mpc(high) - mp.mpc(low)) <= bound[i, j]
                # relative to the small result, not to the factors
                assert bound[i, j] <= 1e-18 * float(abs(truth[i, j])) + 1e-29 * float(np.abs(X[i]) @ np.abs(Y[:, j]))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_graded_coordinates_keep_their_errors(kind: str, seed: int) -> None:
    given = system(kind, seed)
    found = graded(given)
    assert found is not None
    # M + F, B + b, C + c is similar to the given system: the same Markov parameters, up to the errors
    with mp.workdps(60):
        A, B, C = exact(given.A), exact(given.B), exact(given.C)
        M, Bm, Cm = exact(found.A), exact(found.B), exact(found.C)
        # C B = (C + c)(B + b) exactly
        slack = mp.mnorm(Cm, "f") * found.B_error + found.C_error * mp.mnorm(Bm, "f") + found.C_error * found.B_error
        assert mp.mnorm(C * B - Cm * Bm, "f") <= slack
        trace = lambda X: mp.fsum(X[i, i] for i in range(X.rows))  # noqa: E731
        assert abs(trace(A) - trace(M)) <= found.A_error * mp.sqrt(given.n)
        assert abs(trace(A * A) - trace(M * M)) <= 2 * found.A_error * mp.mnorm(M, "f") + found.A_error**2
