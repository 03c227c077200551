"""Finite impulse responses: norms known by the triangle inequality or by calculus, and what lies between samples."""

from __future__ import annotations

import numpy as np
import pytest

from theory.norms import hinf_norm, linf_norm
from theory.norms.peaks.grid import Grid
from theory.norms.proofs.polynomial import Samples
from theory.norms.responses.impulse import FiniteImpulseResponse
from theory.norms.responses.polynomial import Polynomial
from theory.norms.responses.response import Response
from theory.systems.system import StateSpace


def filter_of(taps: np.ndarray, order: np.ndarray | None = None) -> StateSpace:
    """The filter ``sum taps[k] z^-k`` as a shift register, its states in any order."""
    n = len(taps) - 1
    order = np.arange(n) if order is None else order
    A, B = np.eye(n, k=-1), np.eye(n)[:, :1]
    return StateSpace(A[np.ix_(order, order)], B[order], taps[None, 1:][:, order], taps[:1, None], dt=1.0)


@pytest.mark.parametrize("count", [2, 3, 128, 200, 500])
@pytest.mark.parametrize("turn", [0.0, np.pi, 1.0, -2.5])
def test_taps_that_add_up_attain_the_sum_of_their_sizes(count: int, turn: float) -> None:
    sizes = np.random.default_rng(count).integers(1, 9, count).astype(float)
    taps = sizes * np.exp(1j * turn * np.arange(count)) if turn % np.pi else sizes * np.cos(turn * np.arange(count))
    bracket = hinf_norm(filter_of(taps))
    assert bracket.status == "closed"
    assert bracket.diagnostics["proof"] == "polynomial"
    assert bracket.lower <= sizes.sum() * (1 + 1e-13)
    assert sizes.sum() * (1 - 1e-13) <= bracket.upper
    if turn % np.pi:
        assert abs(bracket.frequency - turn) < 1e-3 / count


@pytest.mark.parametrize(("m", "k"), [(1, 0), (0, 1), (3, 2), (7, 1), (9, 14)])
def test_zeros_at_both_ends_of_the_band(m: int, k: int) -> None:
    # |1 + z^-1|^m |1 - z^-1|^k = 2^(m+k) (1-s)^(m/2) s^(k/2), s = sin^2(w/2), is largest at s = k/(m+k)
    taps = np.ones(1)
    for factor in [(1.0, 1.0)] * m + [(1.0, -1.0)] * k:
        taps = np.convolve(taps, factor)
    s = k / (m + k)
    norm = 2.0 ** (m + k) * (1 - s) ** (m / 2) * s ** (k / 2)
    for system in (filter_of(taps), filter_of(np.concatenate([np.zeros(3), taps]))):
        for bracket in (hinf_norm(system), linf_norm(system)):
            assert bracket.status == "closed"
            assert bracket.lower <= norm * (1 + 1e-13)
            assert norm * (1 - 1e-13) <= bracket.upper


def test_two_filters_mixed_by_a_rotation_in_any_order_of_the_states() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.integers(1, 5, 40).astype(float), rng.integers(1, 9, 40).astype(float)
    A = np.kron(np.eye(2), np.eye(40, k=-1))
    B = np.zeros((80, 2))
    B[0, 0] = B[40, 1] = 1.0
    C = np.zeros((2, 80))
    C[0, :40], C[1, 40:] = one, two
    mix, order = np.array([[1.0, 1.0], [1.0, -1.0]]), rng.permutation(80)
    system = StateSpace(A[np.ix_(order, order)], B[order], (mix @ C)[:, order], dt=1.0)
    bracket, norm = hinf_norm(system), np.sqrt(2.0) * max(one.sum(), two.sum())
    assert bracket.diagnostics["proof"] == "polynomial"
    assert bracket.status == "closed"
    assert bracket.lower <= norm * (1 + 1e-13)
    assert norm * (1 - 1e-13) <= bracket.upper


def test_a_nilpotent_matrix_that_is_no_shift_register() -> None:
    # all entries positive: the norm is the gain at z = 1, C (I - A)^{-1} B by integers
    A = np.tril(np.random.default_rng(3).integers(0, 3, (12, 12)), -1).astype(object)
    x = np.ones(12, dtype=object)
    for i in range(12):
        x[i] = 1 + sum(A[i, j] * x[j] for j in range(i))
    bracket = hinf_norm(StateSpace(A.astype(float) / 1.0, np.ones((12, 1)), np.ones((1, 12)), dt=1.0))
    assert bracket.diagnostics["proof"] == "polynomial"
    assert bracket.lower <= float(sum(x)) <= bracket.upper
    assert bracket.status == "closed"


@pytest.mark.parametrize("best", [0.5, 0.98, 0.999999])
def test_the_proof_does_not_rely_on_the_peak_that_was_found(best: float) -> None:
    taps = np.exp(1j * 0.1234 * np.arange(30))
    form = Polynomial(H=taps[:, None, None], lost=0.0, real=False)
    peak = Grid(form, 1e-8)
    peak.best = best * 30.0
    proved = Samples().prove(Response(name=FiniteImpulseResponse.name, form=form), peak, 1e-8)
    assert 30.0 * (1 - 1e-13) <= proved.upper <= 30.0 * (1 + 1e-7)


def test_what_the_coefficients_are_off_by_is_in_both_ends() -> None:
    form = Polynomial(H=np.ones((4, 1, 1)), lost=0.25, real=True)
    peak = Grid(form, 1e-8).search()
    proved = Samples().prove(Response(name=FiniteImpulseResponse.name, form=form), peak, 1e-8)
    assert form.attained(0.0) <= 3.75
    assert proved.upper >= 4.25
