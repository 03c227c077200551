"""Truncation of a pair of Gramians: stable for every P with the exact Q; floor <= error <= bound by another route."""

from __future__ import annotations

import numpy as np
import pytest
from recorded_cases import KINDS, signals, system
from strategies import gaussian, stable_poles

from theory.errors import DimensionError, InputError
from theory.gramians.gramians import gramians
from theory.gramians.recorded import recorded_reachability
from theory.gramians.time_limited import time_limited_gramians
from theory.norms import error_norm
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.gramian_pairs import pair_truncation
from theory.systems.system import DiagonalStateSpace


def response(item, omega):
    """The definition in plain complex arithmetic, (w, p, m), of one system."""
    z = np.exp(1j * omega)
    total = np.zeros((omega.size, item.p, item.m), dtype=complex) + item.D
    halves = [(item.poles, item.B, item.C, item.C_reverse)]
    if item.conjugate_pairs:
        halves.append(tuple(None if x is None else x.conj() for x in halves[0]))
    for poles, B, C, reverse in halves:
        total += np.einsum("pn,wn,nm->wpm", C, z[:, None] ** (1 - item.delay) / (z[:, None] - poles), B)
        if reverse is not None:
            weight = z[:, None] ** -(1 - item.delay_reverse) / (1 / z[:, None] - poles)
            total += np.einsum("pn,wn,nm->wpm", reverse, weight, B)
    return total


def swept(first, second):
    omega = np.linspace(-np.pi, np.pi, 2001)
    return np.linalg.norm(response(first, omega) - response(second, omega), 2, axis=(1, 2)).max()


def members(item):
    return [item[h] for h in range(item.batch_shape[0])] if item.batch_shape else [item]


def hostile(rng, n):
    """A positive semidefinite matrix of low rank and wild scale: nothing like a Gramian."""
    X = rng.standard_normal((n, rng.integers(1, n + 1))) * 10.0 ** rng.uniform(-8, 8, (n, 1))
    return X @ X.T


@pytest.mark.parametrize("seed", range(40))
def test_the_exact_observability_gramian_makes_every_p_stable(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    kind = ("spread", "near circle", "clustered", "real", "fast")[seed % 5]
    poles = stable_poles(rng, kind, (n,), 1e-6, True)
    item = DiagonalStateSpace(poles, gaussian(rng, n, 2), gaussian(rng, 3, n), delay=0)
    for order in range(1, n):
        found = pair_truncation(item, order, hostile(rng, 2 * n))
        assert (np.abs(found.system.poles) < 1).all()
        assert found.order <= order


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", ["recorded", "time-limited"])
def test_floor_error_bound(kind, pair):
    item = system(kind, n=5)
    u, lengths = signals(item)
    P, Q = time_limited_gramians(item, 20)
    for order in (1, 3):
        found = (
            pair_truncation(item, order, recorded_reachability(item, u, lengths))
            if pair == "recorded"
            else pair_truncation(item, order, P, Q)
        )
        triples = zip(members(item), members(found.system), np.ravel(found.floor), np.ravel(found.bound), strict=True)
        for whole, part, floor, bound in triples:
            error = swept(whole, part)
            assert 0 < floor <= error * (1 + 1e-3)  # the sweep may miss the top of a peak
            assert error <= bound < 100 * error
        certified = error_norm(item, found.system, rtol=1e-3)
        assert (np.asarray(certified.lower) <= found.bound).all()
        assert (found.system.poles.shape[-1], found.order) == (found.order, found.system.n)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exact_pair_is_balanced_truncation(kind):
    item = system(kind, n=5)
    P, _ = gramians(item)
    ours, theirs = pair_truncation(item, 3, P), balanced_truncation(item, 3)
    for one, other in zip(members(ours.system), members(theirs.system), strict=True):
        # the regularization moves the subspaces by its root at most
        assert swept(one, other) < 1e-3 * np.max(theirs.hsv)


@pytest.mark.parametrize("kind", ["S5", "S4D"])
def test_it_does_not_depend_on_the_scale_of_modes_or_of_p(kind):
    item = system(kind)
    P = recorded_reachability(item, *signals(item))
    scale = np.array([1e-4, 1.0, 1e3, 1e-1])
    moved = item.replace(B=item.B * scale[:, None], C=item.C / scale)
    both = np.tile(scale, 2)
    one = pair_truncation(item, 2, P)
    other = pair_truncation(moved, 2, 7.0 * P * both[:, None] * both)
    for a, b in zip(members(one.system), members(other.system), strict=True):
        assert swept(a, b) < 1e-6 * np.max(one.hsv)


def test_all_states_are_the_system_itself_and_bad_input_is_refused():
    item = system("S5")
    P = recorded_reachability(item, *signals(item))
    assert pair_truncation(item, item.n, P).system is item
    with pytest.raises(DimensionError):
        pair_truncation(item, 2, P[:4, :4])
    with pytest.raises(InputError):
        pair_truncation(item, 2, P * np.nan)
    with pytest.raises(InputError):
        pair_truncation(item, 2, P, regularization=0.0)
