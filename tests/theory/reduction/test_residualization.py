"""Residualization: the gain at rest is exact, the bound is that of balanced truncation, what D cannot take is told."""

from __future__ import annotations

import numpy as np
import pytest
from contract_cases import KINDS, diagonal, measured_error, members, present, response, rounding, s5, system_of
from tolerance import EPS

from ssmreduce import Residualized, reduce
from theory.errors import InputError
from theory.reduction.residualization import _delayed, residualized
from theory.systems.system import DiagonalStateSpace, StateSpace

WHOLE = [
    kind for kind in KINDS
    if system_of(kind).n > 2 and system_of(kind).is_real and kind not in ("near the circle", "badly scaled", "no input")
]  # fmt: skip
"""Real systems of a few states, whose response at rest is no difference of large numbers."""


@pytest.mark.parametrize("kind", WHOLE)
def test_the_gain_at_rest_is_exact(kind):
    """By the definition of the transfer function, at z = 1 and s = 0; balanced truncation misses it."""
    system = system_of(kind)
    for order in range(min(system.n, present(kind) + 1)):
        found = residualized(system, order)
        for whole, part in zip(members(system), members(found.system), strict=True):
            wanted, got = response(whole, np.zeros(1)), response(part, np.zeros(1))
            allowed = 1e-9 * np.abs(wanted).max() + rounding(whole) + rounding(part)
            assert np.abs(got - wanted).max() <= allowed + 2 * np.max(found.diagnostics.get("perturbation", 0.0))
            assert np.all(found.diagnostics["left_out"] == 0)


@pytest.mark.parametrize("kind", ["complex", "complex bidirectional", "continuous complex"])
def test_complex_systems_with_a_complex_feedthrough_too(kind):
    system = KINDS[kind].replace(D=KINDS[kind].D + 0j)
    for order in range(1, system.n):
        found = residualized(system, order)
        gap = np.abs(response(found.system, np.zeros(1)) - response(system, np.zeros(1))).max()
        assert gap <= 1e-9 * np.abs(response(system, np.zeros(1))).max()


def closed_form(A, B, C, D, k):
    """The textbook: ``A_r = A11 + A12 (I - A22)^-1 A21`` and so on, in balanced coordinates."""
    rest = np.linalg.inv(np.eye(A.shape[0] - k) - A[k:, k:])
    return (
        A[:k, :k] + A[:k, k:] @ rest @ A[k:, :k],
        B[:k] + A[:k, k:] @ rest @ B[k:],
        C[:, :k] + C[:, k:] @ rest @ A[k:, :k],
        D + C[:, k:] @ rest @ B[k:],
    )


@pytest.mark.parametrize("kind", ["dense", "dense complex"])
def test_it_is_what_the_textbook_writes(kind):
    """Gramians by summing the series, balanced by an eigenvalue problem: no code of ours."""
    system = KINDS[kind]
    P, Q = (np.zeros((system.n, system.n), dtype=system.A.dtype) for _ in range(2))
    X, Y = system.B @ system.B.conj().T, system.C.conj().T @ system.C
    A = system.A
    for _ in range(20):  # squared Smith: 2^20 terms
        P, Q = P + X, Q + Y
        X, Y, A = A @ P @ A.conj().T, A.conj().T @ Q @ A, A @ A
    R = np.linalg.cholesky(P)
    values, U = np.linalg.eigh(R.conj().T @ Q @ R)
    values, U = np.sqrt(values[::-1]), U[:, ::-1]
    T = R @ U / np.sqrt(values)
    balanced = (np.linalg.solve(T, system.A @ T), np.linalg.solve(T, system.B), system.C @ T)
    omega = np.linspace(-3, 3, 11)
    for k in range(1, system.n):
        wanted = StateSpace(*closed_form(*balanced, system.D, k), dt=system.dt)
        got = response(residualized(system, k, feedthrough="dense").system, omega)
        expected = response(wanted, omega)
        if system.D.dtype.kind == "f" and not system.is_real:
            expected = expected - 1j * (wanted.D - system.D).imag
        assert np.abs(got - expected).max() <= 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize("feedthrough", ["dense", "diagonal", "kept"])
@pytest.mark.parametrize("kind", ["S5", "S5 bidirectional", "continuous", "dense", "S4D"])
def test_what_is_left_of_the_feedthrough_is_told(kind, feedthrough):
    system = system_of(kind)
    for order in range(1, system.n):
        found = residualized(system, order, feedthrough=feedthrough)
        change = found.system.D - system.D
        if feedthrough == "kept":
            assert np.all(change == 0)
        if feedthrough == "diagonal":
            assert np.all(change * (1 - np.eye(*change.shape[-2:])) == 0)
        for whole, part, bound in zip(members(system), members(found.system), np.ravel(found.bound), strict=True):
            assert measured_error(whole, part) <= bound * (1 + 1e-9) + rounding(whole) + rounding(part)


@pytest.mark.parametrize("both", [False, True])
def test_poles_at_zero_and_a_delay_of_none(both):
    """A written output divides by the pole: one at zero is moved, and what that costs is told."""
    system = diagonal(3, n=4, m=2, p=2, two_ways=both)
    system = system.replace(poles=[0.0, 1e-300, -1e-9, 0.5])
    delays = {"delay": 0, "delay_reverse": 0 if both else 1}
    written, moved = _delayed(system, system.replace(**delays))
    assert (written.delay, written.delay_reverse) == tuple(delays.values())
    assert 0 < measured_error(system, written) <= moved <= 1e-4


def test_a_layer_takes_a_diagonal_and_nothing_else():
    layer = s5(3)
    assert np.array_equal(reduce(layer, 2, method="residualized").layer.B.shape, (2, 2))
    with pytest.raises(InputError, match="diagonal"):
        reduce(layer, 2, method=Residualized(feedthrough="dense"))
    with pytest.raises(InputError):
        residualized(layer.system, 2, feedthrough="some")
    with pytest.raises(InputError):
        Residualized(condition_limit=0.5)


def test_the_bound_is_attained_at_rest_by_truncation_and_at_infinity_here():
    """Of a symmetric system in continuous time the error at infinity is twice the tail: nothing is to spare."""
    rng = np.random.default_rng(5)
    poles = -(10.0 ** rng.uniform(-3, 0, 6))
    b = rng.uniform(0.1, 1, 6) * np.sqrt(-poles)
    system = DiagonalStateSpace(poles, b[:, None], b[None], dt=None, conjugate_pairs=False)
    for order in range(1, 5):
        found = residualized(system.replace(D=np.zeros((1, 1), complex)), order)
        far = np.abs(response(found.system, np.array([1e9])) - response(system, np.array([1e9]))).max()
        tail = 2 * found.hsv[order:].sum()
        assert abs(far - tail) <= 1e-6 * tail + 64 * EPS * found.hsv[0]
        assert far <= found.bound
