"""Descents of dense systems: never worse than balanced truncation by routes of their own, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from contract_cases import diagonal, measured_error, response, turned
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmreduce import reduce
from theory.errors import AccuracyError
from theory.reduction.dense_descent import through_modes
from theory.systems.system import DiagonalStateSpace, StateSpace

SWEPT = 1e-6
"""What a sweep may miss of a peak, relative."""

KINDS = {
    "discrete": {},
    "real poles": {"kind": "real"},
    "complex": {"conjugate_pairs": False},
    "continuous": {"discrete": False},
}


def energy(system, reduced):
    """Of the error: the mean over the circle, whose aliasing dies with the poles; a Lyapunov equation elsewhere."""
    if system.is_discrete:
        omega = 2 * np.pi * np.arange(4096) / 4096
        return (np.abs(response(system, omega) - response(reduced, omega)) ** 2).sum(axis=(1, 2)).mean()
    A = scipy.linalg.block_diag(system.A, reduced.A)
    B, C = np.vstack([system.B, reduced.B]), np.hstack([system.C, -reduced.C])
    return np.trace(C @ scipy.linalg.solve_continuous_lyapunov(A, -B @ B.conj().T) @ C.conj().T).real


@pytest.mark.parametrize("method", ["h2(steps=40)", "hinf(steps=5)", "mixed(steps=5)", "refit(norm='hinf')"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5)
@given(seed=st.integers(0, 40), order=st.integers(1, 3))
def test_never_worse_than_balanced_truncation(method, kind, seed, order):
    system = turned(diagonal(seed, closest=3e-2, n=3, **KINDS[kind]), seed)
    start, found = reduce(system, order), reduce(system, order, method=method)
    assert isinstance(found.system, StateSpace)
    assert found.order == found.system.n == order
    assert found.system.is_real == system.is_real
    assert np.array_equal(found.system.D, system.D)
    if method.startswith(("h2", "mixed")):
        assert energy(system, found.system) <= energy(system, start.system) * (1 + 1e-7)
    after = measured_error(system, found.system)
    if not method.startswith("h2"):
        assert after <= measured_error(system, start.system) * (1 + SWEPT)
    assert found.floor * (1 - SWEPT) <= after <= found.bound * (1 + SWEPT)


@pytest.mark.parametrize("kind", KINDS)
def test_never_worse_in_h2_than_the_strongest_modes(kind):
    compared = 0
    for seed in range(5):
        system = turned(diagonal(seed, closest=3e-2, n=3, **KINDS[kind]), seed)
        modes, found = reduce(system, 2, method="aire"), reduce(system, 2, method="h2(steps=2)")
        assert found.order == 2
        if modes.order == 2:
            compared += 1
            assert energy(system, found.system) <= energy(system, modes.system) * (1 + 1e-7)
    assert compared


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_something_to_gain(kind):
    """On systems drawn as above the descents do move: real poles alone, pairs, and both together."""
    gains = {"h2": [], "hinf": []}
    for seed in range(3):
        system = turned(diagonal(seed, closest=3e-2, n=3, **KINDS[kind]), seed)
        start = reduce(system, 2).system
        gains["h2"].append(energy(system, reduce(system, 2, method="h2(steps=40)").system) / energy(system, start))
        after = measured_error(system, reduce(system, 2, method="hinf(steps=10)").system)
        gains["hinf"].append(after / measured_error(system, start))
    assert min(gains["h2"]) < 0.99
    assert min(gains["hinf"]) < 0.95


@pytest.mark.parametrize("method", ["h2", "hinf", "mixed", "refit(norm='hinf')"])
def test_a_defective_matrix_is_refused_with_the_reason(method):
    jordan = StateSpace(0.5 * np.eye(3) + np.eye(3, k=1) * 0.2, np.ones((3, 1)), np.ones((1, 3)), dt=1.0)
    with pytest.raises(AccuracyError, match="condition number"):
        reduce(jordan, 1, method=method)


def test_real_poles_stay_real_and_the_count_of_states_is_looked_at():
    system = turned(diagonal(2, closest=3e-2, n=3, kind="real"), 2)
    start = reduce(system, 2).system
    seen = []

    def descend(modes, small):
        seen.append((modes, small))
        return small.replace(C=small.C + 0.0)

    assert through_modes(system, start, descend).n == 2
    assert through_modes(system, start, lambda modes, small: small) is start
    ((modes, small),) = seen
    assert isinstance(modes, DiagonalStateSpace)
    off = small.poles + 1e-3j * (small.poles.imag == 0)
    if (small.poles.imag == 0).any():
        with pytest.raises(ValueError, match="came back"):
            through_modes(system, start, lambda modes, small: small.replace(poles=off))
