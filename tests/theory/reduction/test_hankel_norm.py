"""The Hankel norm of the error is sigma_(k+1): both in 50 digits, from the systems as they are written."""

from __future__ import annotations

import numpy as np
import pytest
from contract_cases import KINDS, TURNED, diagonal, hankel_values, members, response, system_of, true_values

from theory.errors import OrderError
from theory.gramians.gramians import stacked_output
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.balancing import Remark
from theory.reduction.hankel_norm import ATTAINED, hankel_norm_approximation
from theory.systems.system import DiagonalStateSpace

SMALL = [kind for kind in KINDS if isinstance(system_of(kind), DiagonalStateSpace) and kind != "no input"]


def hankel_norm(whole, part):
    """Of the difference, from its stored numbers, in 50 digits; two directions stacked, as they are reduced."""
    error = whole.replace(
        poles=np.concatenate([whole.poles, part.poles]), B=np.concatenate([whole.B, part.B]),
        C=np.concatenate([whole.C, -part.C], axis=1),
        C_reverse=None if whole.C_reverse is None else np.concatenate([whole.C_reverse, -part.C_reverse], axis=1),
    )  # fmt: skip
    return hankel_values(error, stacked_output(error))[0]


def attains(system, found, values):
    states = np.broadcast_to(found.diagnostics["states"], np.shape(found.bound)).ravel()
    optimal = np.ravel(found.diagnostics["optimal"])
    for one, other, own, k, best in zip(members(system), members(found.system), values, states, optimal, strict=True):
        wanted, norm = own[k], hankel_norm(one, other)
        assert wanted - 1e-13 * own[0] <= norm  # Adamyan, Arov and Krein
        assert not best or norm <= wanted + 1.01 * ATTAINED * own[0]
    return bool(optimal.all())


@pytest.mark.parametrize("kind", SMALL)
def test_the_optimum_is_attained(kind):
    system, values = system_of(kind), [own for own, _ in true_values(kind)]
    for order in {1, system.n // 2, system.n - 1} - {0, system.n}:
        try:
            found = hankel_norm_approximation(system, order)
        except OrderError:
            continue
        assert attains(system, found, values)
        assert np.array_equal(found.system.D, system.D)


def test_balanced_truncation_does_not():
    found = balanced_truncation(KINDS["S5"], 2)
    own = true_values("S5")[0][0]
    assert hankel_norm(KINDS["S5"], found.system) > (1 + 1e-4) * own[4]


@pytest.mark.parametrize("kind", ["dense", "dense continuous", "dense complex"])
def test_dense_systems_get_what_their_diagonal_form_gets(kind):
    system, twin = KINDS[kind], TURNED[kind]
    omega = np.linspace(-3, 3, 9)
    step = 2 if twin.conjugate_pairs else 1
    compared = 0
    for order in range(1, twin.n):
        found, other = hankel_norm_approximation(system, step * order), hankel_norm_approximation(twin, order)
        assert found.diagnostics["optimal"]
        own = true_values(kind)[0][0]
        assert abs(found.diagnostics["hankel"] - own[step * order]) <= 2 * ATTAINED * own[0]
        if other.diagnostics["states"] == step * order and abs(own[step * order - 1] / own[step * order]) > 1.01:
            gap = np.abs(response(found.system, omega) - response(other.system, omega)).max()
            assert gap <= 1e-6 * np.abs(response(system, omega)).max() + found.bound
            compared += 1
    assert compared


@pytest.mark.parametrize("ports", [(1, 1), (3, 1), (1, 4), (3, 3)])
@pytest.mark.parametrize("discrete", [True, False])
def test_any_number_of_ports(ports, discrete):
    system = diagonal(40, n=4, m=ports[0], p=ports[1], discrete=discrete)
    values = [hankel_values(system, system.C)]
    assert all(attains(system, hankel_norm_approximation(system, order), values) for order in (1, 2, 3))


@pytest.mark.parametrize("ports", [(4, 4), (2, 5)])
@pytest.mark.parametrize("discrete", [True, False])
def test_it_turns_with_the_ports(ports, discrete):
    """Of all optimal approximations one is chosen by the system, not by the coordinates of its ports."""
    m, p = ports
    system = diagonal(43, n=4, m=m, p=p, discrete=discrete)
    rng = np.random.default_rng(7)
    V, W = (np.linalg.qr(rng.standard_normal((q, q)))[0] for q in ports)
    other = system.replace(B=system.B @ V, C=W @ system.C, D=W @ system.D @ V)
    omega = np.linspace(-3, 3, 9)
    for order in (1, 2, 3):
        one, two = (hankel_norm_approximation(given, order) for given in (system, other))
        assert one.diagnostics["optimal"]
        expected = W @ response(one.system, omega) @ V
        assert np.abs(response(two.system, omega) - expected).max() <= 1e-8 * np.abs(expected).max()


def test_ports_of_zeros_change_nothing():
    system = diagonal(44, n=4, m=2, p=3)
    wide = system.replace(
        B=np.pad(system.B, ((0, 0), (0, 3))), C=np.pad(system.C, ((0, 1), (0, 0))), D=np.pad(system.D, ((0, 1), (0, 3)))
    )
    omega = np.linspace(-3, 3, 9)
    for order in (1, 2, 3):
        one, two = (response(hankel_norm_approximation(given, order).system, omega) for given in (system, wide))
        assert np.abs(two[:, :3, :2] - one).max() <= 1e-8 * np.abs(one).max()
        assert np.abs(two[:, 3:]).max() == np.abs(two[:, :, 2:]).max() == 0


def test_poles_next_to_minus_one_go_through_the_other_map():
    system = diagonal(41, n=4, m=2, p=2)
    system = system.replace(poles=[-1 + 1e-6, -0.999 + 1e-2j, 0.9j, 0.5])
    values = [hankel_values(system, system.C)]
    assert all(attains(system, hankel_norm_approximation(system, order), values) for order in (1, 2, 3))


def test_equal_hankel_values_go_together():
    """Two copies of one system: every value twice. The optimum of one state less is that of the pair."""
    one = diagonal(42, n=3, m=1, p=1, conjugate_pairs=False)
    zero = np.zeros((3, 1))
    twice = one.replace(
        poles=np.tile(one.poles, 2), B=np.block([[one.B, zero], [zero, one.B]]),
        C=np.block([[one.C, zero.T], [zero.T, one.C]]), D=np.zeros((2, 2)),
    )  # fmt: skip
    values = [hankel_values(twice, twice.C)]
    for order in range(1, 6):
        found = hankel_norm_approximation(twice, order)
        assert attains(twice, found, values)
        assert found.order == order - order % 2 or order == 1


@pytest.mark.parametrize("gap", [1e-5, 1e-9, 1e-12])
def test_nearly_equal_values_are_told_from_the_optimum(gap):
    """A lightly damped pair has two values that differ by its damping; whatever comes out says what it is."""
    system = DiagonalStateSpace([(1 - gap) * np.exp(1j), 0.5j], [[1.0], [0.3]], [[1.0, 0.2]])
    values = [hankel_values(system, system.C)]
    found = hankel_norm_approximation(system, 1)
    assert attains(system, found, values) or Remark.PARTLY_REFUSED in found.remarks
