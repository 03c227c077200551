"""Balanced means that both Gramians are diag(hsv), which the equations say; minimal means nothing is left to drop."""

from __future__ import annotations

import numpy as np
import pytest
from contract_cases import KINDS, diagonal, response, true_values

from theory.errors import OrderError
from theory.reduction.realizations import balanced_realization, minimal
from theory.systems.realization import dense

BALANCED = [
    "S5",
    "standard form",
    "complex",
    "continuous",
    "continuous complex",
    "dense",
    "dense continuous",
    "one state",
]


@pytest.mark.parametrize("kind", BALANCED)
def test_it_solves_both_equations(kind):
    system = KINDS[kind]
    found, full = balanced_realization(system), dense(system)
    A, B, C, S = found.system.A, found.system.B, found.system.C, np.diag(found.hsv)
    if system.is_discrete:
        left = (A @ S @ A.conj().T - S + B @ B.conj().T, A.conj().T @ S @ A - S + C.conj().T @ C)
    else:
        left = (A @ S + S @ A.conj().T + B @ B.conj().T, A.conj().T @ S + S @ A + C.conj().T @ C)
    assert max(np.abs(side).max() for side in left) <= 1e-9 * found.hsv[0]
    assert np.all(np.diff(found.hsv) <= 0)
    eye = np.eye(full.n)
    assert np.abs(found.inverse @ found.T - eye).max() <= 1e-9
    assert np.abs(found.T @ A @ found.inverse - full.A).max() <= 1e-8 * np.abs(full.A).max()
    assert np.abs(found.T @ B - full.B).max() <= 1e-8 * np.abs(full.B).max()
    omega = np.linspace(-3, 3, 9)
    wanted = response(system, omega)
    assert np.abs(response(found.system, omega) - wanted).max() <= 1e-8 * np.abs(wanted).max()
    assert found.system.is_real == system.is_real


def test_what_is_not_minimal_has_none_and_what_is_left_has():
    system = dense(diagonal(3, n=3, kind="spread", closest=1e-2))
    again = system.A.shape[0]
    A = np.block([[system.A, np.zeros((again, 1))], [np.ones((1, again)), 0.5 * np.ones((1, 1))]])
    fat = type(system)(
        A, np.vstack([system.B, [[1.0, 1.0]]]), np.hstack([system.C, np.zeros((3, 1))]), system.D, dt=system.dt
    )
    with pytest.raises(OrderError, match="minimal") as caught:
        balanced_realization(fat)
    assert caught.value.attainable == again
    small = minimal(fat)
    assert small.n == again
    omega = np.linspace(-3, 3, 9)
    wanted = response(system, omega)
    assert np.abs(response(small, omega) - wanted).max() <= 1e-9 * np.abs(wanted).max()
    assert balanced_realization(small).hsv.size == again


@pytest.mark.parametrize("kind", ["repeated", "rank one", "no input", "S5", "S4D"])
def test_minimal_keeps_what_is_there(kind):
    system, omega = KINDS[kind], np.linspace(-3, 3, 9)
    small = minimal(system)
    most = max(int((own > own.size * 2.3e-16 * own[0]).sum()) for own, _ in true_values(kind))
    assert small.n <= -(-most // 2)
    assert minimal(small).n == small.n
    pairs = [(system, small)] if not system.batch_shape else [(system[i], small[i]) for i in range(2)]
    for whole, part in pairs:
        wanted = response(whole, omega)
        assert np.abs(response(part, omega) - wanted).max() <= 1e-9 * np.abs(wanted).max()
