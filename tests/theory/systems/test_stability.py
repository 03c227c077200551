"""A dense system is proved stable, or refused with the true reason: 60-digit eigenvalues decide what is true."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from theory.errors import AccuracyError, StabilityError
from theory.norms import hinf_norm
from theory.systems.graded_schur import graded
from theory.systems.stability import coordinates, largest_resolvent, prove_stable, stable_count
from theory.systems.system import StateSpace


def unimodular(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A matrix of integers and its inverse, also of integers: a similarity without rounding."""
    lower, upper = (np.tril(rng.integers(-1, 2, (n, n)), -1) + np.eye(n) for _ in range(2))
    V = lower @ upper.T
    return V, np.round(np.linalg.inv(upper.T) @ np.linalg.inv(lower))


def matrix(kind: str, margin: float, rng: np.random.Generator) -> np.ndarray:
    """A matrix that is no triangle, of largest modulus ``1 - margin`` exactly (real part ``-margin``: continuous)."""
    n = 6
    pole = 1.0 - margin
    if kind == "apart":
        T = np.diag(pole * np.linspace(1.0, 0.25, n))
    elif kind == "defective":
        T = pole * np.eye(n) + 0.25 * np.eye(n, k=1)
    else:  # far from normal: the eigenvalues move by many times the last bit
        T = np.diag(pole * np.linspace(1.0, 0.25, n)) + np.triu(rng.integers(-8, 9, (n, n)), 1)
    V, W = unimodular(rng, n)
    return V @ T @ W


def true_margin(A: np.ndarray, *, discrete: bool) -> Any:
    with mp.workdps(60):
        poles = mp.eig(mp.matrix(A.tolist()), left=False, right=False)
        return min(1 - abs(pole) if discrete else -mp.re(pole) for pole in poles)


def verdict(call: Any) -> type[Exception] | None:
    try:
        call()
    except (StabilityError, AccuracyError) as error:
        return type(error)
    return None


@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
@pytest.mark.parametrize("kind", ["apart", "defective", "far from normal"])
@pytest.mark.parametrize("margin", [0.125, 2.0**-20, -(2.0**-20), -0.125])
def test_what_is_proved_is_true_and_what_is_refused_as_unstable_is(kind: str, margin: float, discrete: bool) -> None:
    rng = np.random.default_rng(3)
    A = matrix(kind, margin, rng)
    A = A if discrete else A - np.eye(6)
    system = StateSpace(A, rng.normal(size=(6, 1)), rng.normal(size=(1, 6)), dt=1.0 if discrete else None)
    found, true = verdict(lambda: prove_stable(system)), true_margin(A, discrete=discrete)
    if true <= 0:
        assert found is not None
    elif abs(margin) == 0.125:
        assert found is None  # an ordinary margin is proved, whatever the eigenvectors are like
    if kind == "apart":
        assert found is (StabilityError if true <= 0 else None)  # and here rounding hides nothing
    assert found is verdict(lambda: hinf_norm(system))  # the norm says the same


@pytest.mark.parametrize("kind", ["defective", "far from normal"])
@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
def test_the_resolvent_is_below_its_bound(kind: str, discrete: bool) -> None:
    rng = np.random.default_rng(5)
    A = matrix(kind, 0.125, rng) - (0.0 if discrete else np.eye(6))
    system = StateSpace(A, np.ones((6, 1)), np.ones((1, 6)), dt=1.0 if discrete else None)
    decided = 0
    for form in coordinates(system):
        bound = largest_resolvent(form, np.linalg.eigvals(A), discrete=discrete, real=True)
        if not np.isfinite(bound):
            continue
        decided += 1
        assert stable_count(form.A, form.A_error, bound, discrete=discrete) == 6
        boundary = np.exp(1j * np.linspace(-np.pi, np.pi, 201)) if discrete else 1j * np.linspace(-3.0, 3.0, 201)
        sizes = [np.linalg.norm(np.linalg.inv(z * np.eye(6) - form.A), 2) for z in boundary]
        assert max(sizes) <= bound
    assert decided


def test_the_count_needs_the_whole_change() -> None:
    """Ten times the error of the coordinates, or ten times the resolvent, must make a close decision undecided."""
    system = StateSpace(matrix("defective", 0.125, np.random.default_rng(1)), np.ones((6, 1)), np.ones((1, 6)), dt=1.0)
    form = graded(system)
    assert form is not None
    bound = largest_resolvent(form, np.linalg.eigvals(system.A), discrete=True, real=True)
    assert stable_count(form.A, 0.9 / bound, bound, discrete=True) == 6
    assert stable_count(form.A, 1.0 / bound, bound, discrete=True) is None
    assert stable_count(form.A, form.A_error, 1e20, discrete=True) is None


def test_it_stands_below_the_norms() -> None:
    code = "import sys, theory.systems.stability; assert not any(m.startswith('theory.norms') for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
