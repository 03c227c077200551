"""Changes of realization keep the transfer function, evaluated here by plain complex arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from strategies import diagonal_systems
from tolerance import relative, tol

from theory.errors import DimensionError, InputError
from theory.systems.realization import (
    anticausal_part,
    causal_part,
    dense,
    feedthrough_of_delay,
    standard_form,
    with_conjugates,
)
from theory.systems.system import DiagonalStateSpace

OMEGA = np.array([-2.0, -0.3, 0.0, 0.4, 1.7, 3.0])


def plain(system, omega=OMEGA):
    """The formula of design.md, word by word."""
    halves = [(system.poles, system.B, system.C, system.C_reverse)]
    if system.conjugate_pairs:
        halves.append(tuple(None if x is None else x.conj() for x in halves[0]))
    values = []
    for w in omega:
        z = np.exp(1j * w) if system.is_discrete else 1j * w
        total = system.D.astype(complex)
        for poles, B, C, C_reverse in halves:
            total = total + z ** (1 - system.delay) * C @ np.diag(1 / (z - poles)) @ B
            if C_reverse is not None:
                total = total + z ** -(1 - system.delay_reverse) * C_reverse @ np.diag(1 / (1 / z - poles)) @ B
        values.append(total)
    return np.array(values)


@given(diagonal_systems(delay=None, closest=1e-2, badly_scaled=False))
def test_dense_and_standard_form(system):
    wanted = plain(system)
    condition = 1 / system.margin.min()
    matrices = dense(system)
    z = np.exp(1j * OMEGA) if system.is_discrete else 1j * OMEGA
    resolvent = np.linalg.solve(z[:, None, None] * np.eye(matrices.n) - matrices.A, matrices.B + 0j)
    assert relative(matrices.C @ resolvent + matrices.D, wanted) <= tol(matrices.n, condition)
    assert matrices.is_real == system.conjugate_pairs
    assert standard_form(system).delay == 1
    assert relative(plain(standard_form(system)), wanted) <= tol(system.n, condition)


@given(diagonal_systems(bidirectional=None, delay=None, discrete=True, closest=1e-2, badly_scaled=False))
def test_conjugates_written_out(system):
    assert relative(plain(with_conjugates(system)), plain(system)) <= tol(system.n, 1 / system.margin.min())


@given(diagonal_systems(bidirectional=True, delay=None, closest=1e-2, badly_scaled=False))
def test_two_directions_add_up(system):
    forward, backward = plain(causal_part(system)), plain(anticausal_part(system), -OMEGA)
    assert relative(forward + backward, plain(system)) <= tol(system.n, 1 / system.margin.min())


def test_feedthrough_of_delay_is_lag_zero():
    system = DiagonalStateSpace([0.5j], [[1 + 1j]], [[2 - 1j]], delay=0)
    assert feedthrough_of_delay(system) == [[2 * (3 + 1j).real]]


def test_refusals():
    system = DiagonalStateSpace([0.5], [[1]], [[1]], C_reverse=[[1]])
    with pytest.raises(InputError, match="bidirectional"):
        dense(system)
    with pytest.raises(InputError, match="one direction"):
        anticausal_part(causal_part(system))
    with pytest.raises(DimensionError, match="batch"):
        dense(DiagonalStateSpace([[0.5]], [[[1]]], [[[1]]]))
