"""Allocations through ``reduce_model``: budgets met, and the default of balanced truncation is optimal."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from allocation_cases import network_for
from contract_cases import FOR_LAYERS, hankel_values
from layer_cases import s5_params

from ssmreduce.files.model import Model
from ssmreduce.methods.allocation import ALLOCATIONS
from ssmreduce.methods.registry import METHODS
from ssmreduce.reduced_model import reduce_model
from theory.errors import AccuracyError

SIZES = (3, 2, 4)


def model(seed, spread=2.0):
    """Three layers; the larger `spread`, the more one of them lives from its first states."""
    rng = np.random.default_rng(seed)
    raw = [s5_params(rng, P=size, H=2, decay=(0.1, spread * (i + 1)), dtype=np.float64) for i, size in enumerate(SIZES)]
    return Model(
        tree={f"layers_{i}": layer for i, layer in enumerate(raw)}, options={"conj_sym": True, "discretization": "zoh"}
    )


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("budget", range(3, 10))
def test_budgets_are_met(allocation, budget):
    whole = model(0)
    given = network_for(allocation, whole.layers)
    smaller = reduce_model(whole, budget=budget, method="last", allocation=allocation, **given)
    kept = [layer.order for layer in smaller.layers]
    assert sum(kept) == budget
    assert all(1 <= count <= size for count, size in zip(kept, SIZES, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_balanced_by_default_leaves_the_smallest_largest_tail(seed):
    """Of all ways to spread the budget none has a smaller max over layers of sum_(i > 2k) sigma_i / sum sigma_i."""
    whole = model(seed)
    values = [hankel_values(layer.system, layer.system.C) for layer in whole.layers]

    def worst(kept):
        return max(own[2 * count :].sum() / own.sum() for own, count in zip(values, kept, strict=True))

    for budget in (4, 5, 6, 7):
        record = reduce_model(whole, budget=budget).training["reduction"]
        ways = [way for way in product(*(range(1, size + 1) for size in SIZES)) if sum(way) == budget]
        assert worst(record["orders_asked"]) <= min(map(worst, ways)) * (1 + 1e-9)


def finite_values(system, horizon):
    """Singular values of the Hankel matrix of `horizon` samples past and to come, by its definition."""
    A = np.diag(np.concatenate([system.poles, system.poles.conj()]))
    B = np.concatenate([system.B, system.B.conj()])
    C = np.concatenate([system.C, system.C.conj()], axis=1)
    reach, see = [B], [C]
    for _ in range(horizon - 1):
        reach.append(A @ reach[-1])
        see.append(see[-1] @ A)
    return np.linalg.svd(np.vstack(see) @ np.hstack(reach), compute_uv=False)[: len(A)]


@pytest.mark.parametrize("horizon", [3, 12])
@pytest.mark.parametrize("seed", range(3))
def test_time_limited_leaves_the_smallest_largest_tail_within_the_horizon(seed, horizon):
    """The same optimum for the finite Hankel matrix, whose singular values are those of the limited Gramians."""
    whole = model(seed)
    values = [finite_values(layer.system, horizon) for layer in whole.layers]

    def worst(kept):
        return max(own[2 * count :].sum() / own.sum() for own, count in zip(values, kept, strict=True))

    rule = ALLOCATIONS.find(f"time_limited(horizon={horizon})")
    for budget in (4, 5, 6, 7):
        ways = [way for way in product(*(range(1, size + 1) for size in SIZES)) if sum(way) == budget]
        assert worst(rule.spread(whole.layers, SIZES, budget)) <= min(map(worst, ways)) * (1 + 1e-6)


def test_a_pole_next_to_the_circle_does_not_starve_its_layer():
    """Of twin layers one has a pole that nothing hears within the horizon: "hsv" starves it, this one does not."""
    layer = model(0, spread=0.2).layers[2]
    slow = layer.system.poles.copy()
    B = layer.system.B.copy()
    slow[0], B[0] = 1 - 1e-9, 1e-3 * B[0]
    twin = layer.with_system(layer.system.replace(poles=slow, B=B))
    sizes = (4, 4)
    assert ALLOCATIONS["hsv"].spread([layer, twin], sizes, 5) == (4, 1)
    assert ALLOCATIONS["time_limited"].spread([layer, twin], sizes, 5)[1] >= 2


def test_what_overflows_is_named():
    layers = [layer.replace(B=layer.B * 1e200) for layer in model(0).layers]
    for allocation in ("hsv", "time_limited"):
        with pytest.raises(AccuracyError, match="scale"):
            ALLOCATIONS[allocation].spread(layers, SIZES, 5)


@pytest.mark.parametrize("seed", range(6))
def test_abs2_removes_the_least_sum_of_squares(seed):
    """Of all ways to spread the budget none removes less of sum sigma^2, whatever the layers' scales."""
    whole = model(seed)
    values = [hankel_values(layer.system, layer.system.C) for layer in whole.layers]

    def removed(kept):
        return sum((own[2 * count :] ** 2).sum() for own, count in zip(values, kept, strict=True))

    for budget in (4, 5, 6, 7):
        record = reduce_model(whole, budget=budget, allocation="abs2").training["reduction"]
        ways = [way for way in product(*(range(1, size + 1) for size in SIZES)) if sum(way) == budget]
        assert removed(record["orders_asked"]) <= min(map(removed, ways)) * (1 + 1e-9)


@pytest.mark.parametrize(("allocation", "power"), [("global", 1), ("global_magnitude", 0)])
@pytest.mark.parametrize("seed", range(4))
def test_global_scores_are_compared_as_they_are(allocation, power, seed):
    """Each layer keeps its best, and of all other states the largest stay, counted by hand; loud layers keep more."""
    whole = model(seed)
    for loud in range(3):
        layers = [layer.replace(B=layer.B * (3.0 if i == loud else 1.0)) for i, layer in enumerate(whole.layers)]
        scores = [sorted(by_hand(layer, power), reverse=True) for layer in layers]
        rest = sorted((-value, i) for i, values in enumerate(scores) for value in values[1:])
        for budget in (4, 5, 6, 7):
            expected = tuple(1 + sum(i == j for _, j in rest[: budget - 3]) for i in range(3))
            assert ALLOCATIONS[allocation].spread(layers, SIZES, budget) == expected
            normalised = ALLOCATIONS["hinf"].spread(layers, SIZES, budget)
            assert normalised == ALLOCATIONS["hinf"].spread(whole.layers, SIZES, budget)


def by_hand(layer, power):
    """Magnitude (power 0), or the peak of a mode's response on a grid."""
    system = layer.system
    strength = np.linalg.norm(system.B, axis=1) * np.linalg.norm(system.C, axis=0)
    if power == 0:
        return np.abs(system.poles) * strength
    grid = np.exp(1j * np.linspace(0, np.pi, 4001))[:, None, None]
    gains = []
    for k in range(len(system.poles)):
        rank_one = np.outer(system.C[:, k], system.B[k])
        response = rank_one / (1 - system.poles[k] / grid) + rank_one.conj() / (1 - system.poles[k].conj() / grid)
        gains.append(np.linalg.norm(response, 2, axis=(1, 2)).max())
    return gains


def test_a_name_may_be_a_keyword():
    assert ALLOCATIONS.find("global(criterion='magnitude')") == ALLOCATIONS["global_magnitude"]
    assert ALLOCATIONS.find("global").name == "global"


@pytest.mark.parametrize("name", FOR_LAYERS)
def test_every_method_reduces_a_model_by_its_own_allocation(name):
    record = reduce_model(model(1), ratio=0.4, method=name).training["reduction"]
    assert ALLOCATIONS.find(record["allocation"]) == ALLOCATIONS.find(METHODS[name].allocation)
    assert record["method"] == name
    assert sum(record["orders"]) <= 5
