"""Stable and unstable parts add up; the gain at rest is that of the definition."""

from __future__ import annotations

import numpy as np
import pytest
from contract_cases import diagonal, members, response, turned
from strategies import gaussian

from theory.errors import InputError, StabilityError
from theory.reduction.balanced_truncation import balanced_truncation
from theory.systems.dc_gain import dc_gain
from theory.systems.stable_part import stable_part
from theory.systems.system import DiagonalStateSpace, StateSpace

KINDS = {
    "S5": {"delay": 0},
    "S5 bidirectional": {"delay": 0, "delay_reverse": 0, "two_ways": True},
    "S4D": {"delay": 0, "batch": (3,), "m": 1, "p": 1},
    "complex": {"conjugate_pairs": False},
    "continuous": {"discrete": False},
    "continuous complex": {"discrete": False, "conjugate_pairs": False},
}


def half_unstable(kind, seed=0):
    """States 1 and 4 of six on the boundary and outside, in batches another pair for every channel."""
    system = diagonal(seed, closest=1e-2, **KINDS[kind])
    poles, rng = system.poles.copy(), np.random.default_rng(seed)
    for index in np.ndindex(system.batch_shape):
        own = rng.permutation(6)[:2]
        poles[(*index, own[0])] = 1j if not system.is_discrete else np.exp(0.7j)
        poles[(*index, own[1])] = 0.3 + 2j if not system.is_discrete else 1.2j
    return system.replace(poles=poles)


def margins(system):
    return 1 - np.abs(system.poles) if system.is_discrete else -system.poles.real


def add_up(system, split, scale=1e-12):
    omega = np.linspace(-3, 3, 12)
    for whole, one, other in zip(members(system), members(split.stable), members(split.rest), strict=True):
        wanted = response(whole, omega)
        assert np.abs(response(one, omega) + response(other, omega) - wanted).max() <= scale * np.abs(wanted).max()


@pytest.mark.parametrize("kind", KINDS)
def test_diagonal_systems(kind):
    system = half_unstable(kind)
    split = stable_part(system)
    assert (split.stable.n, split.rest.n) == (4, 2)
    assert np.all(margins(split.stable) > 0)
    assert np.all(margins(split.rest) < 1e-15)
    assert np.array_equal(split.stable.D, system.D)
    assert not split.rest.D.any()
    add_up(system, split)
    assert balanced_truncation(split.stable, 2).order == 2


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("real", [True, False])
def test_dense_systems(discrete, real):
    rng = np.random.default_rng(3)
    kind = {
        (True, True): "S5",
        (False, True): "continuous",
        (True, False): "complex",
        (False, False): "continuous complex",
    }
    system = half_unstable(kind[discrete, real])
    poles = system.poles * (1 + 1e-3) if discrete else system.poles + 1e-3  # off the boundary, where rounding decides
    system = system.replace(poles=poles)
    system = system.dense()
    T = rng.standard_normal((system.n, system.n)) + 4 * np.eye(system.n) + (0 if real else 1j * gaussian(rng, 1, 1))
    other = StateSpace(
        T @ system.A @ np.linalg.inv(T), T @ system.B, system.C @ np.linalg.inv(T), system.D, dt=system.dt
    )
    split = stable_part(other)
    assert split.stable.n + split.rest.n == other.n
    assert np.all(margins(split.stable) > 0)
    assert np.all(margins(split.rest) < 0)
    assert 0 < split.rest.n < other.n
    assert split.stable.A.dtype == other.A.dtype
    add_up(other, split, 1e-8)


def test_an_integrator_belongs_to_the_rest():
    """A pole of exactly 1, whatever rounds: H diag(d) H / 4 with Hadamard's H is exact in float64."""
    H = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    for seed in range(12):
        rng = np.random.default_rng(seed)
        T = H[rng.permutation(4)] * rng.choice([-1.0, 1.0], 4)
        A = T @ np.diag([1.0, 0.5, -0.25, 0.125]) @ T.T
        system = StateSpace(A, T @ np.ones((4, 1)), np.ones((1, 4)) @ T.T, dt=1)
        split = stable_part(system)
        assert (split.stable.n, split.rest.n) == (3, 1)
        add_up(system, split)


def test_what_is_all_stable_or_not_at_all():
    system = diagonal(1)
    assert stable_part(system).rest.n == 0
    assert stable_part(turned(system, 1)).rest.n == 0
    assert stable_part(system.replace(poles=system.poles + 3)).stable.n == 0
    empty = StateSpace(np.zeros((0, 0)), np.zeros((0, 1)), np.zeros((1, 0)), [[2.0]], dt=1)
    assert stable_part(empty).stable.D == 2


def test_channels_that_split_unlike_are_refused():
    system = diagonal(2, batch=(2,), m=1, p=1)
    poles = system.poles.copy()
    poles[0, 0] = 2.0
    with pytest.raises(InputError, match="one by one"):
        stable_part(system.replace(poles=poles))


@pytest.mark.parametrize("kind", KINDS)
def test_the_gain_at_rest(kind):
    system = diagonal(4, **KINDS[kind])
    wanted = np.array([response(one, np.zeros(1))[0] for one in members(system)]).reshape(system.D.shape)
    got = dc_gain(system)
    assert np.abs(got - wanted).max() <= 1e-12 * np.abs(wanted).max()
    assert np.isrealobj(got) == system.is_real
    if not system.batch_shape and not system.is_bidirectional:
        assert np.abs(dc_gain(turned(system, 2)) - wanted).max() <= 1e-9 * np.abs(wanted).max()


def test_integrators_have_none():
    for system in (
        DiagonalStateSpace([1.0, 0.5], np.ones((2, 1)), np.ones((1, 2))),
        StateSpace([[0.0]], [[1.0]], [[1.0]]),
    ):
        with pytest.raises(StabilityError, match="integrator") as caught:
            dc_gain(system)
        assert caught.value.poles == (1.0 if system.is_discrete else 0.0)
